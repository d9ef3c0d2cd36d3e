package intake

import (
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/pkg/sftp"
)

// room is what an app may still put into its folder, at least: what it adds is taken off, and what goes away, by whomever,
// is found when the folder is measured again, which is when there is no room left.
type room struct {
	mu           sync.Mutex
	files, bytes int64 // guarded by mu
}

func tooMuch(set Settings) error {
	return fmt.Errorf("an app has at most %d files and %d bytes in its folder; remove some: %w", set.MaxFiles, set.MaxBytes, sftp.ErrSSHFxFailure)
}

// measure sets what is left. What is being taken over counts beside the upload that it came from, which may be gone. The
// caller holds t.room.mu.
func (t *tree) measure(set Settings) error {
	t.room.files, t.room.bytes = set.MaxFiles, set.MaxBytes
	for _, dir := range []string{uploadDir, keptDir} {
		names, err := t.names(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if info, err := t.root.Lstat(path.Join(dir, name)); err == nil { // else it has gone
				t.room.files--
				t.room.bytes -= info.Size()
			}
		}
	}
	return nil
}

// grow takes bytes.
func (t *tree) grow(set Settings, n int64) error {
	t.room.mu.Lock()
	defer t.room.mu.Unlock()
	if t.room.bytes < n {
		if err := t.measure(set); err != nil {
			return err
		}
		if t.room.bytes < n {
			return tooMuch(set)
		}
	}
	t.room.bytes -= n
	return nil
}

// makeRoom takes one file and sees to it that the largest has room, as far as uploads that were taken over can give it:
// the oldest of them are removed, which nobody reads again. The caller holds t.mu.
func (t *tree) makeRoom(set Settings, name string) error {
	t.room.mu.Lock()
	defer t.room.mu.Unlock()
	enough := func() bool { return t.room.files >= 1 && t.room.bytes >= min(set.MaxFileBytes, set.MaxBytes) }
	if !enough() {
		if err := t.measure(set); err != nil {
			return err
		}
	}
	if !enough() {
		var done []string
		for n, f := range t.files {
			if f.State == taken && f.writer == nil && n != name {
				done = append(done, n)
			}
		}
		slices.SortFunc(done, func(a, b string) int { return t.files[a].Since.Compare(t.files[b].Since) })
		for _, n := range done {
			if enough() {
				break
			}
			for _, n := range []string{n, n + doneSuffix, n + digestSuffix} { // the markers are used up, unless they are new
				if f := t.peek(n); f.State != taken && f.State != unknown || f.writer != nil {
					continue
				}
				info, err := t.root.Lstat(path.Join(uploadDir, n))
				if err != nil || t.root.Remove(path.Join(uploadDir, n)) != nil {
					continue
				}
				t.vanished(n)
				t.room.files++
				t.room.bytes += info.Size()
			}
		}
	}
	if t.room.files < 1 {
		return tooMuch(set)
	}
	t.room.files--
	return nil
}
