package intake

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
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

const (
	tidyEach       = 10 * time.Minute    // how often uploads are looked for that are to go
	unfinishedMost = 30 * 24 * time.Hour // since its last write, for an upload that only its client could complete
)

// tidy removes what nobody will ask for again.
func (t *tree) tidy(ctx context.Context) {
	t.dropSpent(ctx)
	t.dropUnfinished(ctx)
}

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

// dropUnfinished removes uploads that were never completed, with buyers' data in them, and markers that were left.
func (t *tree) dropUnfinished(ctx context.Context) {
	old, err := t.unwritten()
	if err == nil && len(old) == 0 {
		return
	}
	var set Settings
	if err == nil {
		set, err = t.settings(ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		old, err = t.unwritten() // without those that were begun anew meanwhile
	}
	if err != nil {
		if ctx.Err() == nil {
			t.cfg.Log.Error("intake: which uploads were never completed", "app", t.app, "err", err)
		}
		return
	}
	for _, base := range old {
		// The upload goes before the digest that keeps it from being taken.
		names := []string{base, base + doneSuffix, base + digestSuffix}
		if slices.ContainsFunc(names, func(n string) bool {
			if _, err := t.stat(n); err != nil {
				return false
			}
			f := t.peek(n)
			_, final := set.requestNo(n)
			return f.writer != nil || f.State == taken || final && t.due(set, n) < never
		}) {
			continue
		}
		for _, n := range names {
			info, err := t.stat(n)
			if err != nil {
				continue
			}
			if err := t.root.Remove(path.Join(uploadDir, n)); err != nil {
				t.cfg.Log.Error("intake: remove an upload that was never completed", "app", t.app, "file", n, "err", err)
				break
			}
			t.vanished(n)
			t.cfg.Log.Info("upload removed, which was never completed", "app", t.app, "file", n, "size", info.Size(), "written", info.ModTime())
		}
	}
}

// unwritten are the uploads that have not been written to for too long, by the disk's clock: a sandbox's may be anywhere. An
// upload and its markers are as old as the newest of them.
func (t *tree) unwritten() (old []string, err error) {
	names, err := t.names(uploadDir)
	if err != nil {
		return nil, err
	}
	written := map[string]time.Time{}
	for _, n := range names {
		info, err := t.stat(n)
		if err != nil { // gone meanwhile, or no file
			continue
		}
		base, marker := strings.CutSuffix(n, doneSuffix)
		if !marker {
			base = strings.TrimSuffix(n, digestSuffix)
		}
		if at := info.ModTime(); at.After(written[base]) {
			written[base] = at
		}
	}
	for base, at := range written {
		if time.Since(at) > unfinishedMost {
			old = append(old, base)
		}
	}
	return old, nil
}
