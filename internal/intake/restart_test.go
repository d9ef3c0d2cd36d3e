package intake

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
)

func TestRestartBetweenCloseAndHandOver(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "closed")
	put(t, c, "/upload/TDU-2.csv.part", "not renamed yet")
	begin(t, c, "/upload/TDU-3.csv", "cut")
	r.stop()
	r.quiet()
	r.start()
	r.next("TDU-1", "closed")
	r.nothing()

	c, _ = r.connect("demo")
	try(t, c.Rename("/upload/TDU-2.csv.part", "/upload/TDU-2.csv"))
	r.next("TDU-2", "not renamed yet")
	f, err := c.OpenFile("/upload/TDU-3.csv", os.O_WRONLY)
	try(t, err)
	_, err = f.WriteAt([]byte(" no more"), 3)
	try(t, errors.Join(err, f.Close()))
	r.quiet()
	r.next("TDU-3", "cut no more")

	r.stop()
	r.start()
	r.nothing()
}

func TestRestartWhileCompleteFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	complete := r.cfg.Complete
	tried := make(chan struct{}, 100)
	r.cfg.Complete = func(context.Context, Upload) error {
		tried <- struct{}{}
		return errors.New("database away")
	}
	r.start()
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	r.quiet()
	<-tried
	put(t, c, "/upload/TDU-1.csv", "two")
	r.stop()
	r.cfg.Complete = complete
	r.start()
	r.next("TDU-1", "one")
	r.quiet()
	r.next("TDU-1", "two")
	r.nothing()
}

// A crash is a copy of the folder, taken while the server runs, under a new server.
func TestCrash(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "taken")
	r.quiet()
	r.next("TDU-1", "taken")
	put(t, c, "/upload/TDU-2.csv", "closed")
	begin(t, c, "/upload/TDU-3.csv", "under way")
	put(t, c, "/upload/TDU-4.csv", "closed, then written to")
	f, err := c.OpenFile("/upload/TDU-4.csv", os.O_WRONLY)
	try(t, err)
	_, err = f.WriteAt([]byte("C"), 0)
	try(t, err)

	r.cfg.Dir = snapshot(t, r.cfg.Dir)
	r.stop()
	r.quiet()
	r.start()
	r.next("TDU-2", "closed")
	r.nothing()

	c, _ = r.connect("demo")
	if _, err := c.OpenFile("/upload/TDU-3.csv", os.O_WRONLY|os.O_APPEND); !failed(err) {
		t.Errorf("resumed a file that may have a gap: %v", err)
	}
	put(t, c, "/upload/TDU-4.csv.sha256", hexSum([]byte("Closed, then written to")))
	r.next("TDU-4", "Closed, then written to")
	put(t, c, "/upload/TDU-3.csv", "from the start")
	r.quiet()
	r.next("TDU-3", "from the start")
}

// The writes of take, each of them the last before a crash.
func TestCrashInTake(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	before := snapshot(t, r.cfg.Dir)
	held := make(chan struct{})
	r.stop()
	complete := r.cfg.Complete
	r.cfg.Complete = func(ctx context.Context, _ Upload) error {
		close(held)
		<-ctx.Done()
		return ctx.Err()
	}
	r.quiet()
	r.start()
	<-held
	after := snapshot(t, r.cfg.Dir)
	r.stop()

	r.cfg.Complete = complete
	for _, written := range [][]string{nil, {"intake/kept"}, {"intake/kept", "intake/pending"}, {"intake/kept", "intake/pending", "intake/files"}} {
		dir := snapshot(t, before)
		for _, part := range written {
			try(t, os.RemoveAll(filepath.Join(dir, "demo", part)))
			copyTree(t, filepath.Join(after, "demo", part), filepath.Join(dir, "demo", part))
		}
		r.cfg.Dir = dir
		r.start()
		r.next("TDU-1", "one")
		r.nothing()
		r.stop()
		r.start()
		r.nothing()
		r.stop()
	}
}

// A closed upload that another should have replaced is still there when that fails.
func TestReplacingFails(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(c *sftp.Client) error{
		"rename": func(c *sftp.Client) error { return c.PosixRename("/upload/new.part", "/upload/TDU-1.csv") },
		"put": func(c *sftp.Client) error {
			_, err := c.Create("/upload/TDU-1.csv")
			return err
		},
		"resume": func(c *sftp.Client) error {
			_, err := c.OpenFile("/upload/TDU-1.csv", os.O_WRONLY)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, Settings{RequireMarker: true})
			c, _ := r.connect("demo")
			put(t, c, "/upload/TDU-1.csv", "first")
			put(t, c, "/upload/new.part", "second")
			tmp := filepath.Join(r.cfg.Dir, "demo", "intake", "tmp")
			try(t, os.Remove(tmp)) // nothing can be noted, as on a full disk
			if err := replace(c); err == nil {
				t.Fatal("it did not fail")
			}
			try(t, os.Mkdir(tmp, 0o700))
			put(t, c, "/upload/TDU-1.csv.done", "")
			r.next("TDU-1", "first")
			try(t, c.PosixRename("/upload/new.part", "/upload/TDU-1.csv"))
			put(t, c, "/upload/TDU-1.csv.done", "")
			r.next("TDU-1", "second")
		})
	}
}

// The writes of a rename that replaces, each of them the last before a crash.
func TestCrashInRename(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{RequireMarker: true}) // so that nothing is taken before the crash
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "first")
	put(t, c, "/upload/TDU-1.csv.part", "second")
	before := snapshot(t, r.cfg.Dir)
	try(t, c.PosixRename("/upload/TDU-1.csv.part", "/upload/TDU-1.csv"))
	after := snapshot(t, r.cfg.Dir)
	r.stop()
	r.set.RequireMarker = false
	r.quiet()
	for _, step := range []struct {
		written, want string
	}{{"", "first"}, {"intake/files/TDU-1.csv.json", "first"}, {"upload", "second"}, {"intake/files", "second"}} {
		dir := before
		if step.written != "" {
			try(t, os.RemoveAll(filepath.Join(dir, "demo", step.written)))
			copyTree(t, filepath.Join(after, "demo", step.written), filepath.Join(dir, "demo", step.written))
		}
		r.cfg.Dir = snapshot(t, dir)
		r.start()
		r.next("TDU-1", step.want)
		r.nothing()
		r.stop()
	}
}

func TestDamagedJournalIsNoEvidence(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	put(t, c, "/upload/TDU-2.csv", "two")
	put(t, c, "/upload/TDU-3.csv", "three")
	r.stop()
	demo := filepath.Join(r.cfg.Dir, "demo")
	try(t, os.WriteFile(filepath.Join(demo, "intake/files/TDU-1.csv.json"), []byte("{"), 0o600))
	try(t, os.WriteFile(filepath.Join(demo, "upload/TDU-2.csv"), []byte("owt"), 0o600))
	try(t, os.Remove(filepath.Join(demo, "upload/TDU-3.csv")))
	r.quiet()
	r.start()
	r.nothing()
}

func snapshot(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	copyTree(t, dir, to)
	return to
}

// copyTree keeps modification times, as a disk does.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	try(t, filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dst := filepath.Join(to, strings.TrimPrefix(p, from))
		if d.IsDir() {
			return os.MkdirAll(dst, 0o700)
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if err := os.WriteFile(dst, data, 0o600); err != nil {
			return err
		}
		return os.Chtimes(dst, info.ModTime(), info.ModTime())
	}))
}
