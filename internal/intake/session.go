package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pkg/sftp"
)

// session answers the SFTP requests of one channel. The client sees two flat folders, /upload and /result.
type session struct {
	ctx  context.Context
	tree *tree
	log  *slog.Logger
	open slots
}

// slots count open handles: those of one session, and with them those of its app.
type slots struct {
	own atomic.Int64
	app *atomic.Int64
}

// Clients that transfer in parallel hold a few files open.
const (
	maxHandles       = 64  // of one session
	maxHandlesPerApp = 512 // each may hold a file descriptor of the machine's
)

func (s *slots) acquire() error {
	own, app := s.own.Add(1), s.app.Add(1)
	if own > maxHandles || app > maxHandlesPerApp {
		s.release()
		return errHandles
	}
	return nil
}

func (s *slots) release() {
	s.own.Add(-1)
	s.app.Add(-1)
}

var (
	errReadOnly  = fmt.Errorf("only files in /upload can be changed: %w", sftp.ErrSSHFxPermissionDenied)
	errNoFolders = fmt.Errorf("folders and links cannot be made or removed: %w", sftp.ErrSSHFxPermissionDenied)
	errName      = fmt.Errorf("a file in /upload is named <requestNo>.csv, <requestNo>.csv.done, <requestNo>.csv.sha256, "+
		"or temporarily .*, *.part, *.filepart, *.partial, *.tmp or *~: %w", sftp.ErrSSHFxPermissionDenied)
	errFolder  = fmt.Errorf("the folder exists: %w", sftp.ErrSSHFxFailure)
	errHandles = fmt.Errorf("too many open files: %w", sftp.ErrSSHFxFailure)
	errFull    = fmt.Errorf("the server's disk is full, try again later: %w", sftp.ErrSSHFxFailure)
	errLater   = fmt.Errorf("not available, try again later: %w", sftp.ErrSSHFxFailure)
)

// locate splits a client's path into folder and name: "", "" is the root, and a folder has no name.
func locate(p string) (dir, name string, err error) {
	dir, name, _ = strings.Cut(strings.TrimPrefix(path.Clean("/"+p), "/"), "/")
	if dir != "" && dir != uploadDir && dir != resultDir || strings.Contains(name, "/") {
		return "", "", sftp.ErrSSHFxNoSuchFile
	}
	return dir, name, nil
}

// target is the name of a file that the client may change, with the app's rules.
func (s *session) target(p string) (string, Settings, error) {
	dir, name, err := locate(p)
	if err != nil || dir != uploadDir || name == "" {
		return "", Settings{}, errReadOnly
	}
	set, err := s.tree.settings(s.ctx)
	if err != nil {
		s.log.Error("intake settings", "err", err)
		return "", Settings{}, errLater
	}
	return name, set, nil
}

// Fileread opens a file for reading.
func (s *session) Fileread(r *sftp.Request) (_ io.ReaderAt, err error) {
	defer guard(s.log, r.Filepath, &err)
	dir, name, err := locate(r.Filepath)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fmt.Errorf("is a folder: %w", sftp.ErrSSHFxFailure)
	}
	if err := s.open.acquire(); err != nil {
		return nil, err
	}
	d := &download{log: s.log, path: r.Filepath, open: &s.open}
	if dir == resultDir {
		_, d.src, err = s.result(name)
	} else if _, err = s.stat(r.Filepath); err == nil {
		d.src, err = s.tree.root.Open(path.Join(dir, name))
	}
	if err != nil {
		s.open.release()
		return nil, err
	}
	return d, nil
}

// Filewrite opens a file for writing.
func (s *session) Filewrite(r *sftp.Request) (io.WriterAt, error) { return s.OpenFile(r) }

// OpenFile opens a file for writing, and reading too.
func (s *session) OpenFile(r *sftp.Request) (_ sftp.WriterAtReaderAt, err error) {
	defer guard(s.log, r.Filepath, &err)
	name, set, err := s.target(r.Filepath)
	if err != nil {
		return nil, err
	}
	if !set.uploadable(name) {
		return nil, errName
	}
	if err := s.open.acquire(); err != nil {
		return nil, err
	}
	u, err := s.tree.open(set, name, r.Pflags())
	if err != nil {
		s.open.release()
		return nil, err
	}
	return &counted{upload: u, open: &s.open}, nil
}

// Filecmd changes a file.
func (s *session) Filecmd(r *sftp.Request) (err error) {
	defer guard(s.log, r.Filepath, &err)
	switch r.Method {
	case "Setstat":
		return s.setstat(r)
	case "Rename":
		return s.rename(r, false)
	case "Remove":
		name, _, err := s.target(r.Filepath)
		if err != nil {
			return err
		}
		return s.tree.remove(name)
	case "Mkdir":
		if _, name, err := locate(r.Filepath); err == nil && name == "" { // clients that copy folders try, and go on
			return errFolder
		}
		return errNoFolders
	case "Rmdir", "Link", "Symlink":
		return errNoFolders
	}
	return sftp.ErrSSHFxOpUnsupported
}

// PosixRename renames and replaces.
func (s *session) PosixRename(r *sftp.Request) (err error) {
	defer guard(s.log, r.Filepath, &err)
	return s.rename(r, true)
}

func (s *session) rename(r *sftp.Request, replace bool) error {
	from, _, err := s.target(r.Filepath)
	if err != nil {
		return err
	}
	to, set, err := s.target(r.Target)
	if err != nil {
		return err
	}
	if !set.uploadable(to) {
		return errName
	}
	return s.tree.rename(set, from, to, replace)
}

// setstat sets a size and the time that clients see; owner and mode, which clients send after an upload, are accepted and
// not applied.
func (s *session) setstat(r *sftp.Request) error {
	dir, name, err := locate(r.Filepath)
	switch {
	case err != nil:
		return err
	case dir != uploadDir:
		return errReadOnly
	case name == "":
		return nil
	}
	flags, attributes := r.AttrFlags(), r.Attributes()
	if !flags.Size && !flags.Acmodtime {
		_, err := s.stat(r.Filepath)
		return err
	}
	name, set, err := s.target(r.Filepath)
	if err != nil {
		return err
	}
	if flags.Size {
		if err := s.tree.truncate(set, name, int64(attributes.Size)); err != nil {
			return err
		}
	}
	if flags.Acmodtime {
		return s.tree.setTime(name, time.Unix(int64(attributes.Mtime), 0))
	}
	return nil
}

// Filelist lists a folder or describes a file.
func (s *session) Filelist(r *sftp.Request) (_ sftp.ListerAt, err error) {
	defer guard(s.log, r.Filepath, &err)
	switch r.Method {
	case "Stat":
		info, err := s.stat(r.Filepath)
		if err != nil {
			return nil, err
		}
		return &listing{infos: []fs.FileInfo{info}}, nil
	case "List":
		dir, err := locateFolder(r.Filepath)
		if err != nil {
			return nil, err
		}
		if err := s.open.acquire(); err != nil {
			return nil, err
		}
		if dir == resultDir {
			return &results{s: s}, nil
		}
		infos, err := s.list(dir)
		if err != nil {
			s.open.release()
			return nil, err
		}
		return &listing{infos: infos, open: &s.open}, nil
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

func (s *session) stat(p string) (fs.FileInfo, error) {
	dir, name, err := locate(p)
	switch {
	case err != nil:
		return nil, err
	case dir == "":
		return entry{name: "/", mode: fs.ModeDir | 0o500}, nil
	case dir == resultDir && name == "": // it may have changed at any moment
		return entry{name: resultDir, mode: fs.ModeDir | 0o500, mod: s.tree.cfg.Now()}, nil
	case dir == resultDir:
		f, _, err := s.result(name)
		if err != nil {
			return nil, err
		}
		return f.shown(), nil
	}
	info, err := s.tree.root.Lstat(path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if name != "" && !info.Mode().IsRegular() {
		return nil, sftp.ErrSSHFxNoSuchFile
	}
	e := shown(info)
	if name != "" {
		e.mod = s.tree.shownTime(name, info)
	}
	return e, nil
}

// locateFolder is locate for a folder.
func locateFolder(p string) (dir string, err error) {
	dir, name, err := locate(p)
	if err == nil && name != "" {
		err = fmt.Errorf("not a folder: %w", sftp.ErrSSHFxFailure)
	}
	return dir, err
}

// list is what is in the root or in /upload, where an app's settings bound it.
func (s *session) list(dir string) ([]fs.FileInfo, error) {
	var infos []fs.FileInfo
	switch dir {
	case "":
		for _, d := range []string{uploadDir, resultDir} {
			info, err := s.stat("/" + d)
			if err != nil {
				return nil, err
			}
			infos = append(infos, info)
		}
	case uploadDir:
		names, err := s.tree.names(dir)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			// A file that vanished meanwhile is left out, and so is what is no file.
			if info, err := s.stat(path.Join("/", dir, n)); err == nil {
				infos = append(infos, info)
			}
		}
	}
	return infos, nil
}

// entry is a file as clients see it: no owner, and the mode says what they can do.
type entry struct {
	name string
	size int64
	mode fs.FileMode
	mod  time.Time
}

func shown(info fs.FileInfo) entry {
	e := entry{name: info.Name(), size: info.Size(), mode: 0o600, mod: info.ModTime()}
	if info.IsDir() {
		e.mode = fs.ModeDir | 0o700
	}
	return e
}

func (e entry) Name() string       { return e.name }
func (e entry) Size() int64        { return e.size }
func (e entry) Mode() fs.FileMode  { return e.mode }
func (e entry) ModTime() time.Time { return e.mod }
func (e entry) IsDir() bool        { return e.mode.IsDir() }
func (e entry) Sys() any           { return nil }

type listing struct {
	infos []fs.FileInfo
	open  *slots // the session's handles, when this is one
}

func (l *listing) ListAt(to []fs.FileInfo, off int64) (int, error) {
	if off >= int64(len(l.infos)) {
		return 0, io.EOF
	}
	n := copy(to, l.infos[off:])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (l *listing) Close() error {
	if l.open != nil {
		l.open.release()
	}
	return nil
}

type download struct {
	src  io.ReaderAt // what is in /upload is closed too
	log  *slog.Logger
	path string
	open *slots
}

func (d *download) ReadAt(p []byte, off int64) (n int, err error) {
	defer guard(d.log, d.path, &err)
	return d.src.ReadAt(p, off)
}

func (d *download) Close() error {
	d.open.release()
	if f, ok := d.src.(io.Closer); ok {
		return f.Close()
	}
	return nil
}

type counted struct {
	*upload
	open *slots
}

func (c *counted) Close() error {
	c.open.release()
	return c.upload.Close()
}

// guard turns a panic into a failure of this one request: the library runs requests in goroutines of its own, where
// a panic would end the process. It is also the one place where an error of the machine becomes what the client may
// know of it; an error that carries an SFTP status was made for the client.
func guard(log *slog.Logger, path string, err *error) {
	if p := recover(); p != nil {
		log.Error("sftp request panicked", "path", path, "panic", p, "stack", string(debug.Stack()))
		*err = sftp.ErrSSHFxFailure
	}
	switch {
	case *err == nil, *err == io.EOF:
	case *err == errFolder, *err == errFailed, *err == sftp.ErrSSHFxFailure,
		errors.Is(*err, sftp.ErrSSHFxNoSuchFile), errors.Is(*err, sftp.ErrSSHFxOpUnsupported):
	case errors.Is(*err, sftp.ErrSSHFxPermissionDenied), errors.Is(*err, sftp.ErrSSHFxFailure):
		log.Warn("sftp request refused", "path", path, "why", *err) // most clients show the status, not the reason
	case errors.Is(*err, fs.ErrNotExist):
		*err = sftp.ErrSSHFxNoSuchFile
	case errors.Is(*err, syscall.ENOSPC):
		log.Error("sftp request", "path", path, "err", *err)
		*err = errFull
	default:
		log.Error("sftp request", "path", path, "err", *err)
		*err = sftp.ErrSSHFxFailure
	}
}
