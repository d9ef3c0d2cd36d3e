package intake

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

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
			files, bytes := t.removeTaken(n)
			t.room.files += files
			t.room.bytes += bytes
		}
	}
	if t.room.files < 1 {
		return tooMuch(set)
	}
	t.room.files--
	return nil
}

// removeTaken removes an upload that was taken over, and tells what that has freed. The caller holds t.mu.
func (t *tree) removeTaken(name string) (files, bytes int64) {
	for _, n := range []string{name, name + doneSuffix, name + digestSuffix} { // the markers are used up, unless they are new
		if f := t.peek(n); f.State != taken && f.State != unknown || f.writer != nil {
			continue
		}
		info, err := t.root.Lstat(path.Join(uploadDir, n))
		if err != nil || t.root.Remove(path.Join(uploadDir, n)) != nil {
			continue
		}
		t.vanished(n)
		files++
		bytes += info.Size()
	}
	return files, bytes
}

// spentEach is how often uploads are looked for that are not kept any longer.
const spentEach = 10 * time.Minute

// dropSpent removes uploads that were taken over and are not kept any longer.
func (t *tree) dropSpent(ctx context.Context) {
	var done []string
	t.mu.Lock()
	for n, f := range t.files {
		if f.State == taken && f.writer == nil {
			done = append(done, n)
		}
	}
	t.mu.Unlock()
	if len(done) == 0 || t.cfg.Spent == nil {
		return
	}
	set, err := t.settings(ctx)
	for i := 0; i < len(done) && err == nil; i++ {
		no, final := set.requestNo(done[i])
		if !final {
			continue
		}
		var spent bool
		if spent, err = t.cfg.Spent(ctx, t.app, no); !spent || err != nil {
			continue
		}
		t.mu.Lock()
		if f := t.peek(done[i]); f.State == taken && f.writer == nil {
			t.removeTaken(done[i])
		}
		t.mu.Unlock()
	}
	if err != nil && ctx.Err() == nil {
		t.cfg.Log.Error("intake: which uploads are not kept any longer", "app", t.app, "err", err)
	}
}
