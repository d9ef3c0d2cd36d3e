package intake

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
)

// upload is an open handle that writes a file. Of several on one file only the newest writes; a client whose
// connection died can thus come back before the server has noticed the death.
type upload struct {
	tree *tree
	name string
	f    *os.File
	set  Settings
	log  *slog.Logger
	base int64 // writes below it are refused: the size at opening, for an append

	shown time.Time // guarded by tree.mu; see record

	growing sync.Mutex
	size    int64 // guarded by growing; what the app has been charged
	covered spans // guarded by growing, or by mu held exclusively

	mu      sync.RWMutex // shared by writes, exclusive to end them
	ended   bool         // closed, or another handle took over
	failed  atomic.Bool  // a write failed
	dropped atomic.Bool  // the connection went before the close
}

var (
	errEnded   = fmt.Errorf("the file has been opened, renamed or removed by another request meanwhile: %w", sftp.ErrSSHFxFailure)
	errWriting = fmt.Errorf("the file is still being written: %w", sftp.ErrSSHFxFailure)
	errGap     = fmt.Errorf("the file may have a gap; upload it from the start: %w", sftp.ErrSSHFxFailure)
	errExists  = fmt.Errorf("the file exists: %w", sftp.ErrSSHFxFailure)
	errFailed  = fmt.Errorf("a write failed, so the upload is not complete: %w", sftp.ErrSSHFxFailure)
	errTorn    = fmt.Errorf("too many gaps are open; write the file from its start on: %w", sftp.ErrSSHFxFailure)
	errNotDone = fmt.Errorf("the upload was not completed, or has been processed already; upload it again: %w", sftp.ErrSSHFxFailure)
)

// open opens name for writing, by the client's flags and nothing else: without TRUNC what is there stays.
func (t *tree) open(set Settings, name string, flags sftp.FileOpenFlags) (*upload, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := t.stat(name)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist), !exists && !flags.Creat:
		return nil, err
	case exists && flags.Creat && flags.Excl:
		return nil, errExists
	}
	if w := t.peek(name).writer; w != nil {
		if err := t.end(w, false); err != nil {
			return nil, err
		}
		if info, err = t.stat(name); err != nil {
			return nil, err
		}
	}

	keep, state := exists && !flags.Trunc && info.Size() > 0, t.peek(name).State
	if keep && state == unknown {
		return nil, errGap
	}
	if err := t.makeRoom(set, name); err != nil {
		return nil, err
	}
	var f *os.File
	full := path.Join(uploadDir, name)
	if keep && state == cut {
		f, err = t.root.OpenFile(full, os.O_RDWR, 0)
	} else {
		f, err = t.anew(full, keep)
	}
	if err != nil { // what was there is still there, and so is what is known about it
		return nil, err
	}
	t.forget(name)
	t.forget(name + doneSuffix) // it spoke of what was there before
	t.changed(name)
	u := &upload{tree: t, name: name, f: f, set: set, log: t.cfg.Log.With("app", t.app)}
	if keep {
		u.size = info.Size()
		u.covered.add(span{0, info.Size()})
		if flags.Append {
			u.base = info.Size()
		}
	}
	t.file(name).writer = u
	return u, nil
}

// anew opens a new file, empty or with what is there, and only then puts it in the place of the other, which may be linked
// elsewhere.
func (t *tree) anew(full string, keep bool) (f *os.File, err error) {
	tmp := path.Join(tmpDir, rand.Text())
	if f, err = t.root.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = t.root.Remove(tmp)
		}
	}()
	if keep {
		src, err := t.root.Open(full)
		if err != nil {
			return nil, err
		}
		defer func() { _ = src.Close() }()
		if _, err := io.Copy(f, src); err != nil {
			return nil, err
		}
	}
	return f, t.root.Rename(tmp, full)
}

// end closes the handle and notes what it leaves behind. The caller holds t.mu, and u is the file's writer.
func (t *tree) end(u *upload, clean bool) error {
	u.stop()
	info, err := u.f.Stat()
	if err := errors.Join(err, u.f.Sync(), u.f.Close()); err != nil {
		return err
	}
	if !u.covered.reach(info.Size()) {
		if clean {
			return errGap
		}
		return nil
	}
	r := record{State: cut, Size: info.Size(), ModTime: info.ModTime(), Since: t.cfg.Now(), Shown: u.shown}
	if clean {
		r.State = closed
	}
	t.forget(u.name + doneSuffix) // a marker from before the close did not speak of the whole
	if err := t.syncDir(uploadDir); err != nil {
		return err
	}
	return t.note(u.name, r)
}

// abandon ends the writer of a file that goes away, if it has one. The caller holds t.mu.
func (t *tree) abandon(name string) {
	if u := t.peek(name).writer; u != nil {
		u.stop()
		_ = u.f.Close()
	}
}

// stop lets running writes finish and refuses all later ones.
func (u *upload) stop() {
	u.mu.Lock()
	u.ended = true
	u.mu.Unlock()
	u.tree.file(u.name).writer = nil
}

func (u *upload) WriteAt(p []byte, off int64) (n int, err error) {
	defer guard(u.log, "/"+uploadDir+"/"+u.name, &err)
	u.mu.RLock()
	defer u.mu.RUnlock()
	defer func() {
		if err != nil {
			u.failed.Store(true)
		}
	}()
	switch {
	case u.failed.Load(): // the client has more on its way, and was told why
		return 0, errFailed
	case u.ended:
		return 0, errEnded
	case off < 0 || off > u.set.MaxFileBytes-int64(len(p)):
		return 0, tooLarge(u.set.MaxFileBytes)
	case off < u.base:
		// The place of a write that does not count from the start of the file is unknown: packets are written in
		// parallel, so "at the end" would depend on chance.
		return 0, fmt.Errorf("an append writes at the end of the file: %w", sftp.ErrSSHFxFailure)
	}
	if err := u.grow(off + int64(len(p))); err != nil {
		return 0, err
	}
	n, err = u.f.WriteAt(p, off)
	if !u.cover(span{off, off + int64(n)}) {
		return 0, errTorn
	}
	return n, err
}

func (u *upload) cover(p span) bool {
	u.growing.Lock()
	defer u.growing.Unlock()
	return u.covered.add(p)
}

// grow charges the app for the file up to a size.
func (u *upload) grow(size int64) error {
	u.growing.Lock()
	defer u.growing.Unlock()
	if size <= u.size {
		return nil
	}
	if err := u.tree.grow(u.set, size-u.size); err != nil {
		return err
	}
	u.size = size
	return nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("a file has at most %d bytes: %w", limit, sftp.ErrSSHFxFailure)
}

func (u *upload) ReadAt(p []byte, off int64) (n int, err error) {
	defer guard(u.log, "/"+uploadDir+"/"+u.name, &err)
	return u.f.ReadAt(p, off)
}

// TransferError is called, before Close, when the connection ended with the file open.
func (u *upload) TransferError(error) { u.dropped.Store(true) }

// Close is called when the client closes the file, and also when its connection drops.
func (u *upload) Close() (err error) {
	defer guard(u.log, "/"+uploadDir+"/"+u.name, &err)
	// All writes of this handle are over. Syncing a large file takes time, so it is done before the lock.
	if err := u.f.Sync(); err != nil {
		u.log.Error("sftp upload", "file", u.name, "err", err)
		u.failed.Store(true)
	}
	t := u.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peek(u.name).writer != u {
		_ = u.f.Close()
		return errEnded
	}
	failed := u.failed.Load()
	if err := t.end(u, !failed && !u.dropped.Load()); err != nil {
		return err
	}
	if failed {
		return errFailed
	}
	return nil
}

// truncate sets the size of a file, which is a change of its content like any other.
func (t *tree) truncate(set Settings, name string, size int64) error {
	if size < 0 || size > set.MaxFileBytes {
		return tooLarge(set.MaxFileBytes)
	}
	t.mu.Lock()
	u := t.peek(name).writer
	t.mu.Unlock()
	if u != nil {
		return u.truncate(size)
	}
	u, err := t.open(set, name, sftp.FileOpenFlags{Write: true, Trunc: size == 0})
	if err != nil {
		return err
	}
	if err := u.truncate(size); err != nil {
		u.failed.Store(true)
	}
	return u.Close()
}

func (u *upload) truncate(size int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return errEnded
	}
	if err := u.grow(size); err != nil {
		return err
	}
	if err := u.f.Truncate(size); err != nil {
		return err
	}
	u.covered.shorten(size)
	return nil
}

// rename gives a file another name. A name that starts processing must be earned by a clean close: a script that
// renames after a dropped connection would otherwise make a cut file whole.
func (t *tree) rename(set Settings, from, to string, replace bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	src := t.peek(from)
	if _, err := t.stat(from); err != nil {
		return err
	}
	switch _, err := t.stat(to); {
	case err == nil && !replace && t.peek(to).State != taken: // what was taken over is there for the client to see, no more
		return errExists
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case src.writer != nil:
		return errWriting
	case set.speaks(to) && src.State != closed:
		return errNotDone
	case from == to:
		return nil
	}
	old, done, r := t.peek(to).record, t.peek(to+doneSuffix).record, src.record
	r.Since, r.Renamed = t.cfg.Now(), isTemporary(from)
	// The new record stands before the file moves, so that no crash leaves a closed file without one. Until then the old
	// one, in it, describes the file that is there.
	if r.State != unknown {
		both := r
		both.Before = &old
		if err := t.note(to, both); err != nil {
			return err
		}
	}
	t.forget(to + doneSuffix)
	if err := t.root.Rename(path.Join(uploadDir, from), path.Join(uploadDir, to)); err != nil {
		t.restore(to, old)
		t.restore(to+doneSuffix, done)
		return err
	}
	t.abandon(to)
	if r.State == unknown {
		t.forget(to)
	}
	t.file(to).record = r
	t.changed(to)
	t.vanished(from)
	return t.syncDir(uploadDir)
}

// remove deletes a file, and with it an upload or marker that has not been acted on.
func (t *tree) remove(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.stat(name); err != nil {
		return err
	}
	if err := t.root.Remove(path.Join(uploadDir, name)); err != nil {
		return err
	}
	t.abandon(name)
	t.vanished(name)
	return t.syncDir(uploadDir)
}
