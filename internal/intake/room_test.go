package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/openinfinia/infinia/internal/storetest"
)

func TestMostFiles(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{MaxFiles: 3})
	c, _ := r.connect("demo")
	for i := range 3 {
		put(t, c, fmt.Sprintf("/upload/TDU-%d.csv.part", i), "one")
	}
	_, err := c.Create("/upload/TDU-3.csv.part")
	if !failed(err) || !strings.Contains(err.Error(), "at most 3 files") {
		t.Errorf("a fourth file: %v", err)
	}
	try(t, c.Rename("/upload/TDU-0.csv.part", "/upload/TDU-0.csv"))
	r.next("TDU-0", "one")
	try(t, c.Remove("/upload/TDU-1.csv.part"))
	put(t, c, "/upload/TDU-3.csv.part", "one")
	other, _ := r.connect("other")
	put(t, other, "/upload/TDU-1.csv.part", "an app does not fill another's folder")
}

func TestMostBytes(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{MaxBytes: 100_000})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv.part", strings.Repeat("x", 60_000))
	f := begin(t, c, "/upload/TDU-2.csv", "")
	_, err := f.Write([]byte(strings.Repeat("y", 60_000)))
	if !failed(err) || !strings.Contains(err.Error(), "100000 bytes") {
		t.Errorf("more than there is room for: %v", err)
	}
	if err := f.Close(); !failed(err) {
		t.Errorf("closing it: %v", err)
	}
	if err := c.Truncate("/upload/TDU-1.csv.part", 200_000); !failed(err) {
		t.Errorf("truncating to more: %v", err)
	}
	r.quiet()
	r.nothing()
	// Whoever removes a file, its room is there.
	try(t, os.Remove(filepath.Join(r.cfg.Dir, "demo", "upload", "TDU-1.csv.part")))
	put(t, c, "/upload/TDU-2.csv", strings.Repeat("y", 60_000))
	r.quiet()
	r.next("TDU-2", strings.Repeat("y", 60_000))
}

// What was taken over makes room, the oldest first, with its markers; what was not stays.
func TestTakenUploadsMakeRoom(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{MaxFiles: 4})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-0.csv.part", "not yet")
	for i := range 6 {
		no := fmt.Sprintf("TDU-%d", i+1)
		put(t, c, "/upload/"+no+".csv", no)
		if i == 0 {
			put(t, c, "/upload/"+no+".csv.done", "")
		}
		r.quiet()
		r.next(no, no)
		storetest.Until(t, no+" to be taken over", func() bool { return len(r.kept()) == 0 })
	}
	if got := listed(t, c, "/upload"); !slices.Equal(got, []string{"TDU-0.csv.part", "TDU-4.csv", "TDU-5.csv", "TDU-6.csv"}) {
		t.Errorf("there are %v", got)
	}
	try(t, c.Rename("/upload/TDU-0.csv.part", "/upload/TDU-0.csv"))
	r.next("TDU-0", "not yet")
	// One that is sent again, in place of the first, does not remove itself.
	put(t, c, "/upload/TDU-4.csv", "again")
	r.quiet()
	r.next("TDU-4", "again")
}

// What is not kept any longer goes from /upload as well, unless it is being sent again.
func TestSpentUploadsGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	var spent sync.Map
	r.cfg.Spent = func(_ context.Context, app, no string) (bool, error) {
		if app != "demo" || !slices.Contains([]string{"TDU-1", "TDU-2", "TDU-3"}, no) {
			t.Errorf("asked about %s of %s, which is not there", no, app)
		}
		_, is := spent.Load(no)
		return is, nil
	}
	r.start()
	c, _ := r.connect("demo")
	for _, no := range []string{"TDU-1", "TDU-2", "TDU-3"} {
		put(t, c, "/upload/"+no+".csv", no)
		r.quiet()
		r.next(no, no)
	}
	f := begin(t, c, "/upload/TDU-3.csv", "aga")
	spent.Store("TDU-1", true)
	spent.Store("TDU-3", true)
	r.clock.move(time.Hour)
	storetest.Until(t, "TDU-1 to go", func() bool { return len(listed(t, c, "/upload")) == 2 })
	if got := listed(t, c, "/upload"); !slices.Equal(got, []string{"TDU-2.csv", "TDU-3.csv"}) {
		t.Errorf("there are %v", got)
	}
	try(t, f.Close())
	r.quiet()
	r.next("TDU-3", "aga")
	put(t, c, "/upload/TDU-1.csv", "TDU-1 again")
	r.quiet()
	r.next("TDU-1", "TDU-1 again")
}

// A moved clock is seen whatever else there is to do.
func TestMoveBesideOtherWork(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	var asked atomic.Int64
	r.cfg.Spent = func(context.Context, string, string) (bool, error) {
		asked.Add(1)
		return false, nil
	}
	complete, begun, end := r.cfg.Complete, make(chan struct{}), make(chan struct{})
	r.cfg.Complete = func(ctx context.Context, u Upload) error {
		begun <- struct{}{}
		<-end
		return complete(ctx, u)
	}
	r.start()
	c, _ := r.connect("demo")
	for i := range 8 {
		no := fmt.Sprintf("TDU-%d", i)
		put(t, c, "/upload/"+no+".csv", no)
		r.quiet()
		<-begun
		before := asked.Load()
		put(t, c, "/upload/other.csv.part", "other work")
		r.clock.move(time.Hour)
		end <- struct{}{}
		r.next(no, no)
		storetest.Until(t, "the move to be seen", func() bool { return asked.Load() > before })
	}
}

// What was never completed goes 30 days after its last write; what is or will be complete, and what is under way, does not.
func TestUnfinishedUploadsGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	log, _ := r.watch()
	r.start()
	c, conn := r.connect("demo")
	cut := begin(t, c, "/upload/TDU-1.csv", "cut")
	_ = conn.Close()
	_ = cut.Close()
	r.ended("demo", "TDU-1.csv")
	c, _ = r.connect("demo")
	put(t, c, "/upload/TDU-7.csv", "taken")
	r.quiet()
	r.next("TDU-7", "taken")
	put(t, c, "/upload/TDU-2.csv.part", "not renamed")
	put(t, c, "/upload/TDU-3.csv", "another digest")
	put(t, c, "/upload/TDU-3.csv.sha256", "none")
	put(t, c, "/upload/TDU-4.csv", "another digest")
	put(t, c, "/upload/TDU-4.csv.sha256", "none, a day ago")
	put(t, c, "/upload/TDU-5.csv.part", "not renamed, a day ago")
	put(t, c, "/upload/TDU-6.csv.done", "")
	put(t, c, "/upload/TDU-6.csv.sha256", "none")
	begin(t, c, "/upload/TDU-8.csv.part", "under way")
	r.nothing() // the digests have been compared
	marks := r.mark
	put(t, c, "/upload/TDU-9.csv", "closed")
	for _, n := range []string{"TDU-1.csv", "TDU-7.csv", "TDU-2.csv.part", "TDU-3.csv", "TDU-3.csv.sha256", "TDU-4.csv", "TDU-6.csv.done", "TDU-6.csv.sha256", "TDU-8.csv.part", "TDU-9.csv"} {
		r.age(n, unfinishedMost+time.Hour)
	}
	for _, n := range []string{"TDU-4.csv.sha256", "TDU-5.csv.part"} {
		r.age(n, 24*time.Hour)
	}
	r.clock.move(time.Second)
	want := []string{"TDU-4.csv", "TDU-4.csv.sha256", "TDU-5.csv.part", "TDU-7.csv", "TDU-8.csv.part", "TDU-9.csv"}
	storetest.Until(t, "the old ones to go", func() bool { return len(listed(t, c, "/upload")) == len(want)+2*marks })
	if got := listed(t, c, "/upload"); !slices.Equal(got[2*marks:], want) {
		t.Errorf("there are %v", got)
	}
	for _, n := range []string{"TDU-1.csv", "TDU-2.csv.part", "TDU-3.csv", "TDU-3.csv.sha256", "TDU-6.csv.done", "TDU-6.csv.sha256"} {
		if log.count("never completed\" app=demo file="+n+" ") != 1 {
			t.Errorf("%s went without a word", n)
		}
	}
	r.nothing()

	// A server that was down for long takes what was closed before.
	r.cfg.Metrics = nil // it has them already
	r.stop()
	r.quiet()
	r.start()
	r.next("TDU-9", "closed")
	r.nothing()
}

func TestUnmarkedUploadsGo(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{RequireMarker: true})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "without its marker")
	put(t, c, "/upload/TDU-2.csv", "without its marker, a day ago")
	r.age("TDU-1.csv", unfinishedMost+time.Hour)
	r.age("TDU-2.csv", 24*time.Hour)
	r.clock.move(time.Second)
	storetest.Until(t, "TDU-1 to go", func() bool { return slices.Equal(listed(t, c, "/upload"), []string{"TDU-2.csv"}) })
}

// age makes a file of demo's as old as if it had been written and closed then.
func (r *rig) age(name string, by time.Duration) {
	r.t.Helper()
	at := time.Now().Add(-by)
	demo := filepath.Join(r.cfg.Dir, "demo")
	try(r.t, os.Chtimes(filepath.Join(demo, "upload", name), at, at))
	tree, err := r.srv.tree("demo")
	try(r.t, err)
	tree.mu.Lock()
	defer tree.mu.Unlock()
	if rec := tree.peek(name).record; rec.State != unknown {
		rec.ModTime = at
		try(r.t, tree.note(name, rec))
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	disk := storetest.NewDisk(t, 4)
	r.cfg.Dir = filepath.Join(disk.Dir, "files")
	r.start()
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "closed before") // complete once it is quiet, though nothing can be noted then
	f := begin(t, c, "/upload/TDU-2.csv", "begun before")
	disk.Fill()
	r.quiet()
	_, err := f.Write([]byte(strings.Repeat("x", 100_000)))
	if !failed(err) || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("writing: %v", err)
	}
	if err := f.Close(); !failed(err) {
		t.Errorf("closing: %v", err)
	}
	if f, err := c.Create("/upload/TDU-3.csv"); err == nil { // a name may fit where its journal does not
		_, err = f.Write([]byte("small"))
		if err := errors.Join(err, f.Close()); err == nil {
			t.Error("a file was put on a full disk")
		}
	}
	if _, err := c.ReadDir("/upload"); err != nil {
		t.Errorf("listing: %v", err)
	}
	disk.Free()
	r.next("TDU-1", "closed before")
	r.nothing()
	put(t, c, "/upload/TDU-2.csv", "from the start")
	r.quiet()
	r.next("TDU-2", "from the start")
	r.nothing()
}

// A thousand handles of one client do not take the machine's file descriptors.
func TestThousandHandles(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	first, _ := r.connect("demo")
	put(t, first, "/upload/TDU-1.csv.part", "one")
	var got int
	for range 20 {
		c, _ := r.connect("demo")
		for range 50 {
			f, err := c.Open("/upload/TDU-1.csv.part")
			if err == nil {
				got++
				defer func() { _ = f.Close() }()
			} else if !failed(err) || !strings.Contains(err.Error(), "too many open files") {
				t.Errorf("handle %d: %v", got, err)
			}
		}
	}
	if got != maxHandlesPerApp {
		t.Errorf("%d handles were given", got)
	}
	other, _ := r.connect("other")
	put(t, other, "/upload/TDU-1.csv.part", "another app has its own")
}

// A client that opens and never closes is cut off when it falls silent; what it has sent can be resumed.
func TestOpenedAndNeverClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.IdleTimeout = 2 * time.Second
	r.start()
	c, _ := r.connect("demo")
	begin(t, c, "/upload/TDU-1.csv", "half")
	r.ended("demo", "TDU-1.csv")
	r.quiet()
	r.nothing()
	c, _ = r.connect("demo")
	f, err := c.OpenFile("/upload/TDU-1.csv", os.O_WRONLY)
	try(t, err)
	_, err = f.WriteAt([]byte(" whole"), 4)
	try(t, errors.Join(err, f.Close()))
	r.quiet()
	r.next("TDU-1", "half whole")
}

// Who reads a file while another takes its place reads the one that it opened, to the end.
func TestOverwrittenWhileRead(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(t *testing.T, c *sftp.Client){
		"put": func(t *testing.T, c *sftp.Client) { put(t, c, "/upload/TDU-1.csv", "new") },
		"rename": func(t *testing.T, c *sftp.Client) {
			put(t, c, "/upload/TDU-1.csv.part", "new")
			try(t, c.PosixRename("/upload/TDU-1.csv.part", "/upload/TDU-1.csv"))
		},
		"remove": func(t *testing.T, c *sftp.Client) { try(t, c.Remove("/upload/TDU-1.csv")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, Settings{})
			c, _ := r.connect("demo")
			old := strings.Repeat("old", 100_000)
			put(t, c, "/upload/TDU-1.csv", old)
			f, err := c.Open("/upload/TDU-1.csv")
			try(t, err)
			defer func() { _ = f.Close() }()
			head := make([]byte, 1000)
			_, err = f.Read(head)
			try(t, err)
			d, _ := r.connect("demo")
			replace(t, d)
			rest, err := io.ReadAll(struct{ io.Reader }{f}) // by reads alone: the library answers for a handle what it finds at its path
			try(t, err)
			if got := string(head) + string(rest); got != old {
				t.Errorf("read %d bytes, not the %d of the file that was opened", len(got), len(old))
			}
		})
	}
}

// Links that somebody has planted in the folder, or in its place, lead nowhere.
func TestPlantedLinks(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	outside := t.TempDir()
	try(t, os.WriteFile(filepath.Join(outside, "TDU-1.csv"), []byte("secret"), 0o600))
	demo := filepath.Join(r.cfg.Dir, "demo")
	try(t, os.Symlink(outside, filepath.Join(demo, "upload", "TDU-2.csv")))
	try(t, os.Symlink("/nowhere", filepath.Join(demo, "upload", "TDU-3.csv.part")))
	for _, name := range []string{"TDU-2.csv", "TDU-2.csv/TDU-1.csv", "TDU-3.csv.part"} {
		if _, err := c.Create("/upload/" + name); err == nil {
			t.Errorf("wrote %s", name)
		}
		if _, err := c.Open("/upload/" + name); err == nil {
			t.Errorf("read %s", name)
		}
		if _, err := c.ReadDir("/upload/" + name); err == nil {
			t.Errorf("listed %s", name)
		}
		if err := c.Chtimes("/upload/"+name, time.Unix(0, 0), time.Unix(0, 0)); err == nil {
			t.Errorf("changed %s", name)
		}
		if err := c.PosixRename("/upload/"+name, "/upload/TDU-4.csv"); err == nil {
			t.Errorf("renamed %s", name)
		}
	}
	if got, err := c.ReadLink("/upload/TDU-2.csv"); err == nil {
		t.Errorf("a link is read: %s", got)
	}
	r.quiet()
	r.nothing()

	try(t, os.Rename(filepath.Join(demo, "upload"), filepath.Join(demo, "moved")))
	try(t, os.Symlink(outside, filepath.Join(demo, "upload")))
	if got, err := c.ReadDir("/upload"); err == nil {
		t.Errorf("a folder outside is listed: %v", got)
	}
	if _, err := c.Open("/upload/TDU-1.csv"); err == nil {
		t.Error("a file outside is read")
	}
	if _, err := c.Create("/upload/TDU-9.csv"); err == nil {
		t.Error("a file outside is written")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there are now %v, %v", entries, err)
	}
}

func TestManySmallFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.Dir = inMemory(t)
	r.start()
	want := map[string]string{}
	c, _ := r.connect("demo")
	r.collect(1000, func() {
		for i := range 1000 {
			no := fmt.Sprintf("TDU-%d", i)
			want[no] = "rows of " + no
			put(t, c, "/upload/"+no+".csv.part", want[no])
			try(t, c.PosixRename("/upload/"+no+".csv.part", "/upload/"+no+".csv"))
		}
	}, want)
	if got := listed(t, c, "/upload"); len(got) != 1000 {
		t.Errorf("%d files are listed", len(got))
	}
	r.nothing()
	storetest.Until(t, "the copies to go", func() bool { return len(r.kept()) == 0 })
}

// Twenty connections of one app at once.
func TestTwentyClients(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.Dir = inMemory(t)
	r.start()
	want := map[string]string{}
	for i := range 20 {
		for j := range 10 {
			no := fmt.Sprintf("TDU-%d-%d", i, j)
			want[no] = strings.Repeat(no+"\n", 3000)
		}
	}
	r.collect(len(want), func() {
		done := make(chan error, 20)
		for i := range 20 {
			c, _ := r.connect("demo")
			go func() {
				done <- func() error {
					for j := range 10 {
						no := fmt.Sprintf("TDU-%d-%d", i, j)
						f, err := c.Create("/upload/" + no + ".csv.part")
						if err != nil {
							return err
						}
						_, err = f.Write([]byte(want[no]))
						if err := errors.Join(err, f.Close(), c.PosixRename("/upload/"+no+".csv.part", "/upload/"+no+".csv")); err != nil {
							return err
						}
					}
					return nil
				}()
			}()
		}
		for range 20 {
			try(t, <-done)
		}
	}, want)
	r.nothing()
}

// inMemory is a folder for tests that would else wait for the disk alone, which syncs a dozen times for each file.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "intake")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { try(t, os.RemoveAll(dir)) })
	return dir
}

// collect receives n uploads while send sends them, and compares: each exactly once.
func (r *rig) collect(n int, send func(), want map[string]string) {
	r.t.Helper()
	got, all := map[string]string{}, make(chan struct{})
	go func() {
		defer close(all)
		for range n {
			u := <-r.got
			if _, twice := got[u.RequestNo]; twice {
				r.t.Errorf("%s was handed over twice", u.RequestNo)
			}
			got[u.RequestNo] = u.content
		}
	}()
	send()
	select {
	case <-all:
	case <-time.After(2 * deadline):
		r.t.Fatal("not all were handed over")
	}
	for no, content := range want {
		if got[no] != content {
			r.t.Errorf("%s was handed over with %d bytes, want %d", no, len(got[no]), len(content))
		}
	}
}
