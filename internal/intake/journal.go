package intake

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
)

// state is what is known about a file in /upload.
//
//	unknown ──▶ writing ──clean close──▶ closed ──complete──▶ taken
//	               ▲ └──drop, failed write──▶ cut               │
//	               └────────── opened for writing again ◀───────┘ (from closed, cut and taken)
//
// Writing is a file with a writer; the others are kept in intake/files/<name>.json, so that a restart knows them.
// A record is written after the data has been synced and removed before the data changes, and it is believed only
// while size and modification time are still those of the file. Hence, whenever the process or the machine stops:
//
//   - a file that was closed cleanly has its record and will complete: none is lost;
//   - a file without a record was under way, and nothing but a matching .sha256 makes it whole: none is taken cut;
//   - a cut file has no gap and can be resumed. A file that a crash left unknown may have one, because the packets of
//     an upload are written in parallel: it has to be uploaded from the start.
//
// What was closed is never written again: opening it for writing starts a new file under its name. So a copy handed
// over can be a hard link.
type state string

const (
	unknown state = ""
	cut     state = "cut"    // ended without a clean close; every byte up to its size is there
	closed  state = "closed" // closed cleanly, not handed over yet; on a marker: not used yet
	taken   state = "taken"  // its content has been handed over
)

// record is what the journal keeps of one file.
type record struct {
	State   state
	Size    int64
	ModTime time.Time // of the file: the server's, since clients cannot set it
	Since   time.Time // in this state, by Config.Now
	Renamed bool      // got its final name from a temporary one
	Shown   time.Time // the modification time that the client gave it, for clients to see; zero: it gave none
	Before  *record   `json:",omitempty"` // of the file that a rename was about to replace; on disk alone
}

// file is a record and what lives only in memory.
type file struct {
	record
	writer *upload   // the handle writing it now
	turn   uint64    // changes with every change of the file or its state
	judged [2]uint64 // its turn and its digest's when the two were found to differ
}

// tree is one app's folder.
type tree struct {
	cfg     *Config
	app     string
	root    *os.Root
	kick    chan struct{} // the watcher shall look again
	room    room
	handles atomic.Int64 // open, of all sessions

	mu      sync.Mutex // guards all below, and every change of names in upload
	files   map[string]*file
	pending []*handover // oldest first
	nextSeq int64
	turn    uint64
}

const (
	uploadDir  = "upload"
	resultDir  = "result"
	keptDir    = "intake/kept"
	filesDir   = "intake/files"
	pendingDir = "intake/pending"
	tmpDir     = "intake/tmp"
)

func openTree(cfg *Config, app string) (*tree, error) {
	if !plainName.MatchString(app) {
		return nil, fmt.Errorf("appId %q has not the form of one", app)
	}
	dir := filepath.Join(cfg.Dir, app)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &tree{cfg: cfg, app: app, root: root, kick: make(chan struct{}, 1), files: map[string]*file{}}
	err = root.RemoveAll(tmpDir)
	for _, d := range []string{uploadDir, keptDir, filesDir, pendingDir, tmpDir} {
		err = errors.Join(err, root.MkdirAll(d, 0o700))
	}
	if err := errors.Join(err, t.load()); err != nil {
		_ = root.Close()
		return nil, err
	}
	return t, nil
}

// load reads the journal.
func (t *tree) load() error {
	names, err := t.names(filesDir)
	if err != nil {
		return err
	}
	for _, j := range names {
		name := strings.TrimSuffix(j, ".json")
		var r record
		err := t.readJSON(path.Join(filesDir, j), &r)
		info, statErr := t.stat(name)
		if err == nil && statErr == nil && !r.describes(info) && r.Before != nil { // stopped before the rename
			r = *r.Before
		}
		r.Before = nil
		if err != nil || statErr != nil || !r.describes(info) {
			if err := t.root.Remove(path.Join(filesDir, j)); err != nil {
				return err
			}
			continue
		}
		t.files[name] = &file{record: r}
		t.changed(name)
	}
	if names, err = t.names(pendingDir); err != nil {
		return err
	}
	for _, j := range names {
		h := &handover{}
		if _, err := fmt.Sscanf(j, "%d.json", &h.seq); err != nil {
			return fmt.Errorf("%s/%s: %w", pendingDir, j, err)
		}
		if err := t.readJSON(path.Join(pendingDir, j), h); err != nil {
			return fmt.Errorf("%s/%s: %w", pendingDir, j, err)
		}
		t.pending = append(t.pending, h)
		t.nextSeq = max(t.nextSeq, h.seq+1)
		// Stopped between the two writes of take: do the second.
		if f := t.peek(h.Name); f.State == closed && f.Size == h.Size && f.ModTime.Equal(h.ModTime) {
			if err := t.took(h.Name, f.record); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(t.pending, func(a, b *handover) int { return cmp.Compare(a.seq, b.seq) })
	// Stopped before the first write of take, or in the middle of delivered.
	if names, err = t.names(keptDir); err != nil {
		return err
	}
	for _, kept := range names {
		if err := t.dropKept(strings.TrimSuffix(kept, ".csv")); err != nil {
			return err
		}
	}
	return nil
}

// dropKept removes a copy that no pending upload needs. The caller holds t.mu, or is the only one to know t.
func (t *tree) dropKept(sum string) error {
	if slices.ContainsFunc(t.pending, func(h *handover) bool { return h.SHA256 == sum }) {
		return nil
	}
	return t.root.Remove(keptName(sum))
}

func (r record) describes(info fs.FileInfo) bool {
	return r.Size == info.Size() && r.ModTime.Equal(info.ModTime())
}

// peek returns what is known about name. The caller holds t.mu.
func (t *tree) peek(name string) file {
	if f := t.files[name]; f != nil {
		return *f
	}
	return file{}
}

// file returns what is known about name, to change it. The caller holds t.mu.
func (t *tree) file(name string) *file {
	f := t.files[name]
	if f == nil {
		f = &file{}
		t.files[name] = f
	}
	return f
}

// note puts a file into a state, durably. The caller holds t.mu and has synced the file.
func (t *tree) note(name string, r record) error {
	if err := t.writeJSON(recordPath(name), r); err != nil {
		return err
	}
	t.file(name).record = r
	t.changed(name)
	return nil
}

// restore takes back what is known about name, in memory even if the disk is full. The caller holds t.mu.
func (t *tree) restore(name string, r record) {
	if r.State == unknown {
		t.forget(name)
		return
	}
	if err := t.note(name, r); err != nil {
		t.cfg.Log.Error("intake journal", "app", t.app, "file", name, "err", err)
		t.file(name).record = r
		t.changed(name)
	}
}

// forget makes a file unknown. The caller holds t.mu. A record that could not be removed is harmless once the file
// has changed.
func (t *tree) forget(name string) {
	if t.peek(name).State == unknown {
		return // and has no record
	}
	if err := t.root.Remove(recordPath(name)); err != nil {
		t.cfg.Log.Error("intake journal", "app", t.app, "file", name, "err", err)
	}
	t.file(name).record = record{}
	t.changed(name)
}

// vanished forgets a name that no file has any more. The caller holds t.mu.
func (t *tree) vanished(name string) {
	t.forget(name)
	t.changed(name)
	delete(t.files, name)
}

// changed tells everybody who has looked at name to look again. The caller holds t.mu.
func (t *tree) changed(name string) {
	t.turn++
	t.file(name).turn = t.turn
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// setTime keeps the time that a client gives a file; by it many tell whether to send it again. What the journal relies on
// is the time of the disk, which stays.
func (t *tree) setTime(name string, mod time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.stat(name); err != nil {
		return err
	}
	f := t.file(name)
	switch {
	case f.writer != nil:
		f.writer.shown = mod
	case f.State != unknown:
		r := f.record
		r.Shown = mod
		return t.note(name, r)
	}
	return nil
}

// shownTime is the modification time for clients to see.
func (t *tree) shownTime(name string, info fs.FileInfo) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.peek(name).record; !r.Shown.IsZero() && r.describes(info) {
		return r.Shown
	}
	return info.ModTime()
}

func recordPath(name string) string { return path.Join(filesDir, name+".json") }

// stat describes a file in upload. Anything but a regular file is refused: clients cannot make one, and opening a
// pipe would hang.
func (t *tree) stat(name string) (fs.FileInfo, error) {
	info, err := t.root.Lstat(path.Join(uploadDir, name))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: %w", sftp.ErrSSHFxPermissionDenied)
	}
	return info, nil
}

// names lists a folder of the tree, sorted.
func (t *tree) names(dir string) ([]string, error) {
	entries, err := fs.ReadDir(t.root.FS(), dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (t *tree) readJSON(name string, v any) error {
	data, err := t.root.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func (t *tree) writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.place(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// place writes a file so that under its name there is, at any moment and after any crash, the old content or the new.
func (t *tree) place(name string, write func(io.Writer) error) error {
	tmp := path.Join(tmpDir, rand.Text())
	f, err := t.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = t.root.Remove(tmp) }() // gone already when all went well
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := t.root.Rename(tmp, name); err != nil {
		return err
	}
	return t.syncDir(path.Dir(name))
}

func (t *tree) syncDir(dir string) error {
	d, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
