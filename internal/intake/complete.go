package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// handover is a complete upload that Complete has not taken yet, kept in intake/pending/<seq>.json. From here on the
// content is fixed: what the client does with the name starts another upload.
type handover struct {
	RequestNo string
	Name      string
	Size      int64
	ModTime   time.Time
	SHA256    string

	seq   int64
	tries int
	next  time.Time // not before
}

const (
	never    = time.Duration(math.MaxInt64)
	poll     = time.Second            // how long a moved clock, or a fault of ours, may go unnoticed
	retry    = 100 * time.Millisecond // after the first failure of Complete; then doubled
	retryMax = time.Minute
)

// watch completes uploads until ctx ends. Rest is measured on Config.Now; the timer only says when to look again.
func (t *tree) watch(ctx context.Context) {
	tidy := time.NewTicker(tidyEach)
	defer tidy.Stop()
	wake := t.cfg.Wake()
	t.tidy(ctx)
	for ctx.Err() == nil {
		wait := min(t.takeComplete(ctx), t.deliver(ctx))
		var timer <-chan time.Time
		if wait < never {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-t.kick:
		case <-wake:
			wake = t.cfg.Wake() // before the clock is read, so that no move is missed
			t.tidy(ctx)
		case <-tidy.C:
			t.tidy(ctx)
		case <-timer:
		}
	}
}

// settings are the app's, with the defaults filled in.
func (t *tree) settings(ctx context.Context) (Settings, error) {
	set, err := t.cfg.Settings(ctx, t.app)
	set.Quiet = orDefault(set.Quiet, 5*time.Second)
	set.MaxFileBytes = orDefault(set.MaxFileBytes, 1<<30)
	set.MaxFiles = orDefault(set.MaxFiles, 10_000)
	set.MaxBytes = orDefault(set.MaxBytes, 10<<30)
	return set, err
}

// takeComplete moves every complete upload to the pending ones, and tells when to look again.
func (t *tree) takeComplete(ctx context.Context) time.Duration {
	names := t.candidates()
	if len(names) == 0 {
		return never
	}
	set, err := t.settings(ctx)
	if err != nil {
		t.cfg.Log.Error("intake settings", "app", t.app, "err", err)
		return poll
	}
	wait := never
	for _, name := range names {
		no, final := set.requestNo(name)
		if !final {
			continue
		}
		w, err := t.judge(set, name, no)
		if err != nil {
			t.cfg.Log.Error("intake upload", "app", t.app, "file", name, "err", err)
			w = poll
		}
		if w < never {
			wait = min(wait, w, poll)
		}
	}
	return wait
}

// candidates are the files that may be complete: closed, or with a digest beside them.
func (t *tree) candidates() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for name, f := range t.files {
		if f.State != closed {
			continue
		}
		if base, ok := strings.CutSuffix(name, digestSuffix); ok {
			if t.peek(base).State == closed {
				continue // it is a candidate by itself
			}
			name = base
		}
		names = append(names, name)
	}
	return names
}

// judge takes the upload if it is complete; if only time is missing it returns how much.
func (t *tree) judge(set Settings, name, no string) (time.Duration, error) {
	t.mu.Lock()
	wait := t.due(set, name)
	digest := t.peek(name + digestSuffix)
	turn := [2]uint64{t.peek(name).turn, digest.turn}
	proves := digest.State == closed
	t.mu.Unlock()
	if wait > 0 {
		return wait, nil
	}

	info, sum, err := t.sum(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a digest without a file, or one removed meanwhile
		return never, nil
	case err != nil:
		return 0, err
	}
	same := true
	if proves {
		if same, err = t.digestIs(name, sum); err != nil {
			return 0, err
		}
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.file(name)
	if turn != [2]uint64{f.turn, t.peek(name + digestSuffix).turn} {
		return never, nil // begun anew; that has kicked the watcher
	}
	if !same {
		f.judged = turn
		t.cfg.Log.Warn("upload differs from its .sha256", "app", t.app, "file", name, "sha256", sum)
		return never, nil
	}
	h := &handover{RequestNo: no, Name: name, Size: info.Size(), ModTime: info.ModTime(), SHA256: sum}
	return never, t.take(h)
}

// due is how long until an upload is complete, by what is known of it; never, when only its client can make it so. The caller
// holds t.mu.
func (t *tree) due(set Settings, name string) time.Duration {
	f, digest := t.peek(name), t.peek(name+digestSuffix)
	switch {
	case f.writer != nil, f.State == taken, f.judged == [2]uint64{f.turn, digest.turn}:
		return never
	case digest.State == closed: // the digest alone decides
		return 0
	case f.State != closed:
		return never
	case t.peek(name+doneSuffix).State == closed:
		return 0
	case set.RequireMarker:
		return never
	case f.Renamed:
		return 0
	}
	now := t.cfg.Now()
	if now.Before(f.Since) { // the clock was moved back
		t.file(name).Since, f.Since = now, now
	}
	return max(0, set.Quiet-now.Sub(f.Since))
}

// sum reads and syncs a file.
func (t *tree) sum(name string) (fs.FileInfo, string, error) {
	if _, err := t.stat(name); err != nil {
		return nil, "", err
	}
	f, err := t.root.Open(path.Join(uploadDir, name))
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, "", err
	}
	info, err := f.Stat()
	return info, hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Sync())
}

// digestIs compares with the .sha256 file, which holds hex digits or a line of sha256sum.
func (t *tree) digestIs(name, sum string) (bool, error) {
	f, err := t.root.Open(path.Join(uploadDir, name+digestSuffix))
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	line, err := io.ReadAll(io.LimitReader(f, 4096))
	fields := bytes.Fields(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")))
	return len(fields) > 0 && strings.EqualFold(string(fields[0]), sum), err
}

// take fixes the content and queues it. The caller holds t.mu. The order of the writes decides what a crash does:
// before the pending record the upload is still complete, after it load does the rest.
func (t *tree) take(h *handover) error {
	if t.peek(h.Name).State != closed { // a digest proved it
		// What is about to be linked must not be resumed in place.
		if err := t.note(h.Name, record{State: closed, Size: h.Size, ModTime: h.ModTime, Since: t.cfg.Now()}); err != nil {
			return err
		}
	}
	err := t.root.Link(path.Join(uploadDir, h.Name), keptName(h.SHA256))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := t.syncDir(keptDir); err != nil {
		return err
	}
	h.seq = t.nextSeq
	if err := t.writeJSON(h.path(), h); err != nil {
		return err
	}
	t.nextSeq++
	t.pending = append(t.pending, h)
	return t.took(h.Name, record{Size: h.Size, ModTime: h.ModTime, Shown: t.peek(h.Name).Shown})
}

// took notes that a file was taken, in memory even if the disk is full: it must not be taken again and again. Its
// markers are used up: the next upload under this name needs its own.
func (t *tree) took(name string, r record) error {
	r.State, r.Since = taken, t.cfg.Now()
	err := t.note(name, r)
	t.file(name).record = r
	t.forget(name + doneSuffix)
	t.forget(name + digestSuffix)
	return err
}

func keptName(sum string) string { return path.Join(keptDir, sum+".csv") }

func (h *handover) path() string { return path.Join(pendingDir, fmt.Sprintf("%d.json", h.seq)) }

// deliver hands the pending uploads to Complete and tells when to try again. One that fails holds back only later
// ones of its requestNo.
func (t *tree) deliver(ctx context.Context) time.Duration {
	t.mu.Lock()
	queue := append([]*handover(nil), t.pending...)
	t.mu.Unlock()

	wait := never
	held := map[string]bool{}
	for _, h := range queue {
		if held[h.RequestNo] || ctx.Err() != nil {
			continue
		}
		if w := time.Until(h.next); w > 0 {
			held[h.RequestNo] = true
			wait = min(wait, w)
			continue
		}
		log := t.cfg.Log.With("app", t.app, "requestNo", h.RequestNo, "size", h.Size, "sha256", h.SHA256)
		if err := t.complete(ctx, h); ctx.Err() != nil && err != nil {
			return never
		} else if err != nil {
			delay := min(retry<<min(h.tries, 20), retryMax)
			h.tries++
			h.next = time.Now().Add(delay)
			held[h.RequestNo] = true
			wait = min(wait, delay)
			log.Warn("upload not taken over, trying again", "err", err, "in", delay)
			continue
		}
		log.Info("upload complete")
		t.delivered(h)
	}
	return wait
}

func (t *tree) complete(ctx context.Context, h *handover) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return t.cfg.Complete(ctx, Upload{
		AppID:     t.app,
		RequestNo: h.RequestNo,
		Path:      filepath.Join(t.cfg.Dir, t.app, filepath.FromSlash(keptName(h.SHA256))),
		Size:      h.Size,
		SHA256:    h.SHA256,
	})
}

// delivered forgets an upload that has been taken over, then its copy: a restart in between removes that.
func (t *tree) delivered(h *handover) {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.root.Remove(h.path())
	for i, p := range t.pending {
		if p == h {
			t.pending = append(t.pending[:i:i], t.pending[i+1:]...)
			break
		}
	}
	if err == nil { // else a restart hands it over again
		err = t.dropKept(h.SHA256)
	}
	if err != nil {
		t.cfg.Log.Error("intake journal", "app", t.app, "requestNo", h.RequestNo, "err", err)
	}
}
