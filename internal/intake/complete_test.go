package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/openinfinia/infinia/internal/storetest"
)

func TestCompleteAfterQuiet(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{Quiet: 5 * time.Second})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	r.clock.move(4 * time.Second)
	r.nothing()
	r.clock.move(time.Second)
	u := r.next("TDU-1", "one")
	if want := filepath.Join(r.cfg.Dir, "demo", "intake", "kept", u.SHA256+".csv"); u.AppID != "demo" || u.Path != want {
		t.Errorf("got %+v, want path %s", u, want)
	}
	if got := read(t, c, "/upload/TDU-1.csv"); got != "one" {
		t.Errorf("afterwards the client sees %q", got)
	}
	r.quiet()
	r.nothing()
}

func TestQuietIsNoticedWithoutWake(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.Wake = nil
	r.start()
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	r.quiet()
	r.next("TDU-1", "one")
}

func TestClockMovedBack(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{Quiet: time.Second})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	r.clock.move(-24 * time.Hour)
	r.nothing()
	r.clock.move(2 * time.Second)
	r.next("TDU-1", "one")
}

func TestTouchedBeforeQuietBeginsAnew(t *testing.T) {
	t.Parallel()
	touches := map[string]struct {
		touch func(t *testing.T, c *sftp.Client)
		want  string
	}{
		"overwritten": {func(t *testing.T, c *sftp.Client) { put(t, c, "/upload/TDU-1.csv", "two") }, "two"},
		"resumed": {func(t *testing.T, c *sftp.Client) {
			write(t, c, os.O_WRONLY|os.O_APPEND, 3, " more")
		}, "one more"},
		"changed inside": {func(t *testing.T, c *sftp.Client) { write(t, c, os.O_RDWR, 1, "N") }, "oNe"},
		"opened only":    {func(t *testing.T, c *sftp.Client) { write(t, c, os.O_WRONLY, 0, "") }, "one"},
		"truncated":      {func(t *testing.T, c *sftp.Client) { try(t, c.Truncate("/upload/TDU-1.csv", 2)) }, "on"},
		"renamed away and back": {func(t *testing.T, c *sftp.Client) {
			try(t, c.Rename("/upload/TDU-1.csv", "/upload/TDU-2.csv"))
			try(t, c.Rename("/upload/TDU-2.csv", "/upload/TDU-1.csv"))
		}, "one"},
	}
	for name, tc := range touches {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, Settings{})
			c, _ := r.connect("demo")
			put(t, c, "/upload/TDU-1.csv", "one")
			r.clock.move(4 * time.Second)
			tc.touch(t, c)
			r.clock.move(4 * time.Second)
			r.nothing()
			r.clock.move(time.Second)
			r.next("TDU-1", tc.want)
			r.nothing()
		})
	}
}

func TestAttributesAreNoTouch(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	r.clock.move(4 * time.Second)
	try(t, c.Chmod("/upload/TDU-1.csv", 0o777))
	try(t, c.Chtimes("/upload/TDU-1.csv", time.Unix(0, 0), time.Unix(0, 0)))
	r.clock.move(time.Second)
	r.next("TDU-1", "one")
}

// Clients tell by the time that they gave a file whether to send it again: it stays through everything but new content.
func TestClientsSeeTheTimeThatTheyGave(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	given := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	is := func(when, name string, want bool) {
		t.Helper()
		info, err := c.Stat("/upload/" + name)
		try(t, err)
		list, err := c.ReadDir("/upload")
		try(t, err)
		if got := info.ModTime().Equal(given); got != want || list[0].ModTime().Equal(given) != want {
			t.Errorf("%s: %v, listed %v", when, info.ModTime(), list[0].ModTime())
		}
	}
	f := begin(t, c, "/upload/TDU-1.csv.part", "one")
	try(t, c.Chtimes("/upload/TDU-1.csv.part", given, given)) // as put -p does, before the close
	try(t, f.Close())
	is("closed", "TDU-1.csv.part", true)
	try(t, c.Rename("/upload/TDU-1.csv.part", "/upload/TDU-1.csv"))
	r.next("TDU-1", "one")
	is("taken over", "TDU-1.csv", true)
	r.stop()
	r.start()
	c, _ = r.connect("demo")
	is("after a restart", "TDU-1.csv", true)
	put(t, c, "/upload/TDU-1.csv", "two")
	is("with new content", "TDU-1.csv", false)
	try(t, c.Chtimes("/upload/TDU-1.csv", given, given)) // after the close
	is("given again", "TDU-1.csv", true)
	r.quiet()
	r.next("TDU-1", "two")
	try(t, c.Chtimes("/upload/TDU-1.csv", given.Add(time.Hour), given.Add(time.Hour)))
	r.quiet()
	r.nothing()
	if err := c.Chtimes("/upload/none.csv", given, given); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
}

func TestRemovedBeforeQuietIsWithdrawn(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	try(t, c.Remove("/upload/TDU-1.csv"))
	r.quiet()
	r.nothing()
}

func TestTemporaryNames(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	for _, tmp := range []string{"TDU-1.csv.part", "TDU-1.csv.filepart", "TDU-1.csv.0a1b2c3d.partial", "TDU-1.tmp", "TDU-1.csv~", ".TDU-1.csv", ".TDU-1.csv.x7Qa"} {
		put(t, c, "/upload/"+tmp, tmp)
		r.quiet()
		r.nothing()
		try(t, c.PosixRename("/upload/"+tmp, "/upload/TDU-1.csv"))
		r.next("TDU-1", tmp)
	}
	put(t, c, "/upload/TDU-1.csv.part", "again")
	put(t, c, "/upload/TDU-2.csv", "not taken over yet")
	if err := c.Rename("/upload/TDU-1.csv.part", "/upload/TDU-2.csv"); !failed(err) {
		t.Errorf("a plain rename onto a file: %v", err)
	}
	r.quiet()
	r.next("TDU-2", "not taken over yet")
	storetest.Until(t, "the file to be replaced", func() bool { // it was taken over, or will be noted as that at once
		return c.Rename("/upload/TDU-1.csv.part", "/upload/TDU-2.csv") == nil
	})
	r.next("TDU-2", "again")
}

func TestRenameNeedsACleanClose(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, conn := r.connect("demo")
	f := begin(t, c, "/upload/TDU-1.csv.part", "half")
	if err := c.Rename("/upload/TDU-1.csv.part", "/upload/TDU-1.csv"); !failed(err) {
		t.Errorf("rename while writing: %v", err)
	}
	_ = conn.Close()
	_ = f.Close()
	r.ended("demo", "TDU-1.csv.part")
	c, _ = r.connect("demo")
	if err := c.Rename("/upload/TDU-1.csv.part", "/upload/TDU-1.csv"); !failed(err) {
		t.Errorf("rename after a drop: %v", err)
	}
	g, err := c.OpenFile("/upload/TDU-1.csv.part", os.O_WRONLY)
	try(t, err)
	_, err = g.WriteAt([]byte(" whole"), 4)
	try(t, errors.Join(err, g.Close()))
	try(t, c.Rename("/upload/TDU-1.csv.part", "/upload/TDU-1.csv"))
	r.next("TDU-1", "half whole")
}

func TestDoneMarker(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{RequireMarker: true})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv.done", "") // before the file it says nothing
	put(t, c, "/upload/TDU-1.csv", "one")
	r.quiet()
	r.nothing()
	put(t, c, "/upload/TDU-1.csv.done", "")
	r.next("TDU-1", "one")

	put(t, c, "/upload/TDU-1.csv", "two") // the marker has been used
	r.quiet()
	r.nothing()
	put(t, c, "/upload/TDU-1.csv.done.part", "")
	try(t, c.PosixRename("/upload/TDU-1.csv.done.part", "/upload/TDU-1.csv.done"))
	r.next("TDU-1", "two")
}

func TestDoneBeforeTheCloseIsStale(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	f := begin(t, c, "/upload/TDU-1.csv", "half")
	put(t, c, "/upload/TDU-1.csv.done", "")
	try(t, f.Close())
	r.nothing()
	r.quiet()
	r.next("TDU-1", "half")
}

func TestDigestMarker(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv.sha256", strings.ToUpper(hexSum([]byte("one")))+"  TDU-1.csv\n")
	r.nothing() // no file yet
	put(t, c, "/upload/TDU-1.csv", "on")
	r.quiet()
	r.nothing()                                 // another digest
	put(t, c, "/upload/TDU-1.csv.done", "")     // and nothing outweighs it
	write(t, c, os.O_WRONLY|os.O_APPEND, 2, "") // nor does touching
	r.quiet()
	r.nothing()
	write(t, c, os.O_WRONLY|os.O_APPEND, 2, "e")
	r.next("TDU-1", "one")

	put(t, c, "/upload/TDU-1.csv", "two") // the digest has been used
	r.quiet()
	r.next("TDU-1", "two")

	put(t, c, "/upload/TDU-2.csv", "two")
	put(t, c, "/upload/TDU-2.csv.sha256", "no digest")
	r.quiet()
	r.nothing()
	try(t, c.Remove("/upload/TDU-2.csv.sha256"))
	r.next("TDU-2", "two")
}

func TestDroppedConnectionIsNoClose(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, conn := r.connect("demo")
	f := begin(t, c, "/upload/TDU-1.csv", "half")
	_ = conn.Close()
	_ = f.Close()
	r.ended("demo", "TDU-1.csv")
	r.quiet()
	c, _ = r.connect("demo")
	put(t, c, "/upload/TDU-1.csv.done", "") // says more than is true
	r.nothing()
	put(t, c, "/upload/TDU-1.csv.sha256", hexSum([]byte("half"))) // proves it
	r.next("TDU-1", "half")
}

func TestGapIsNotWhole(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	f := begin(t, c, "/upload/TDU-1.csv", "head")
	_, err := f.WriteAt([]byte("tail"), 100)
	try(t, err)
	if err := f.Close(); !failed(err) {
		t.Errorf("closing a file with a gap: %v", err)
	}
	if _, err := c.OpenFile("/upload/TDU-1.csv", os.O_WRONLY|os.O_APPEND); !failed(err) {
		t.Errorf("resuming a file with a gap: %v", err)
	}
	r.quiet()
	r.nothing()
}

// What is written twice fills no gap; what comes out of order, and twice, leaves none.
func TestGapBesideBytesWrittenTwice(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	f := begin(t, c, "/upload/TDU-1.csv", "head")
	at := func(off int64, text string) {
		t.Helper()
		_, err := f.WriteAt([]byte(text), off)
		try(t, err)
	}
	at(0, "head")
	at(8, "tail")
	if err := f.Close(); !failed(err) {
		t.Errorf("closing a file with a gap: %v", err)
	}
	r.quiet()
	r.nothing()

	f = begin(t, c, "/upload/TDU-1.csv", "")
	at(8, "tail")
	at(2, "ad body")
	at(0, "head")
	try(t, f.Close())
	r.quiet()
	r.next("TDU-1", "head bodyail")
}

func TestSpans(t *testing.T) {
	t.Parallel()
	var s spans
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { s.add(span{5, 5}) }, "[]"},
		{func() { s.add(span{10, 20}) }, "[{10 20}]"},
		{func() { s.add(span{10, 20}) }, "[{10 20}]"},
		{func() { s.add(span{30, 40}) }, "[{10 20} {30 40}]"},
		{func() { s.add(span{0, 5}) }, "[{0 5} {10 20} {30 40}]"},
		{func() { s.add(span{5, 8}) }, "[{0 8} {10 20} {30 40}]"},
		{func() { s.add(span{19, 31}) }, "[{0 8} {10 40}]"},
		{func() { s.add(span{12, 14}) }, "[{0 8} {10 40}]"},
		{func() { s.add(span{50, 60}) }, "[{0 8} {10 40} {50 60}]"},
		{func() { s.shorten(70) }, "[{0 8} {10 40} {50 60}]"},
		{func() { s.shorten(30) }, "[{0 8} {10 30}]"},
		{func() { s.add(span{7, 11}) }, "[{0 30}]"},
		{func() { s.shorten(0) }, "[]"},
	} {
		step.do()
		if got := fmt.Sprint(s); got != step.want {
			t.Fatalf("got %s, want %s", got, step.want)
		}
	}
	for size, want := range map[int64]bool{0: true, 1: false} {
		if s.reach(size) != want {
			t.Errorf("nothing reaches %d: %v", size, !want)
		}
	}
	for i := range int64(maxSpans) {
		s.add(span{2 * i, 2*i + 1})
	}
	if s.add(span{1 << 20, 1<<20 + 1}) || len(s) != maxSpans {
		t.Errorf("%d spans are kept", len(s))
	}
	if !s.add(span{0, 2 * maxSpans}) || !s.reach(2*maxSpans) || s.reach(2*maxSpans+1) {
		t.Errorf("all gaps filled: %v", s)
	}
}

func TestNewestWriterWins(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string]int{"overwrites": os.O_RDWR | os.O_CREATE | os.O_TRUNC, "resumes": os.O_WRONLY} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, Settings{})
			c, _ := r.connect("demo")
			d, _ := r.connect("demo")
			old := begin(t, c, "/upload/TDU-1.csv", "old")
			f, err := d.OpenFile("/upload/TDU-1.csv", flags)
			try(t, err)
			if _, err := old.WriteAt([]byte("OLD!"), 0); !failed(err) {
				t.Errorf("the older writer writes: %v", err)
			}
			_, err = f.WriteAt([]byte("new"), 0)
			try(t, err)
			if err := old.Close(); !failed(err) {
				t.Errorf("the older writer closes: %v", err)
			}
			r.quiet()
			r.nothing()
			try(t, f.Close())
			r.quiet()
			r.next("TDU-1", "new")
		})
	}
}

func TestWriterOfAVanishedFile(t *testing.T) {
	t.Parallel()
	for name, vanish := range map[string]func(c *sftp.Client) error{
		"removed":  func(c *sftp.Client) error { return c.Remove("/upload/TDU-1.csv") },
		"replaced": func(c *sftp.Client) error { return c.PosixRename("/upload/new.part", "/upload/TDU-1.csv") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, Settings{RequireMarker: true})
			c, _ := r.connect("demo")
			put(t, c, "/upload/new.part", "new")
			old := begin(t, c, "/upload/TDU-1.csv", "old")
			try(t, vanish(c))
			if _, err := old.WriteAt([]byte("OLD!"), 0); !failed(err) {
				t.Errorf("write: %v", err)
			}
			if err := old.Close(); !failed(err) {
				t.Errorf("close: %v", err)
			}
			r.nothing()
			if name == "replaced" {
				put(t, c, "/upload/TDU-1.csv.done", "")
				r.next("TDU-1", "new")
			}
		})
	}
}

func TestSameBytesTwice(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	for range 2 {
		put(t, c, "/upload/TDU-1.csv", "one")
		r.quiet()
		r.next("TDU-1", "one")
	}
}

func TestKeptCopyIsStable(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	complete := r.cfg.Complete
	var first sync.Once
	taken, release := make(chan struct{}), make(chan struct{})
	r.cfg.Complete = func(ctx context.Context, u Upload) error {
		first.Do(func() {
			close(taken)
			<-release
		})
		return complete(ctx, u)
	}
	r.start()
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	r.quiet()
	<-taken
	write(t, c, os.O_WRONLY|os.O_APPEND, 3, " more")
	write(t, c, os.O_WRONLY, 0, "O")
	close(release)
	r.next("TDU-1", "one")
	r.quiet()
	r.next("TDU-1", "One more")
	r.nothing()
}

// TestKeptCopyGoesWhenTakenOver: the copy is there as long as a handover needs it, and no longer; a crash leaves none either.
func TestKeptCopyGoesWhenTakenOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	complete := r.cfg.Complete
	r.cfg.Complete = func(ctx context.Context, u Upload) error {
		if u.RequestNo == "TDU-2" {
			return errors.New("database away")
		}
		return complete(ctx, u)
	}
	r.start()
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	put(t, c, "/upload/TDU-2.csv", "one") // the same bytes
	r.quiet()
	r.next("TDU-1", "one")
	r.nothing()
	storetest.Until(t, "only the copy that TDU-2 needs", func() bool { return slices.Equal(r.kept(), []string{hexSum([]byte("one")) + ".csv"}) })
	r.stop()
	crashed := filepath.Join(r.cfg.Dir, "demo", "intake", "kept", hexSum([]byte("two"))+".csv")
	try(t, os.WriteFile(crashed, []byte("two"), 0o600)) // the crash came before the copy was queued
	r.cfg.Complete = complete
	r.start()
	r.next("TDU-2", "one")
	storetest.Until(t, "the copies to go", func() bool { return len(r.kept()) == 0 })
	c, _ = r.connect("demo")
	if got := read(t, c, "/upload/TDU-1.csv"); got != "one" {
		t.Errorf("the app's own file reads %q", got)
	}
}

func TestCompleteFailsThenSucceeds(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	r.fail <- errors.New("database away")
	put(t, c, "/upload/TDU-1.csv", "one")
	r.quiet()
	storetest.Until(t, "the failure", func() bool { return len(r.fail) == 0 })
	// What follows does not change what was complete, nor overtake it.
	put(t, c, "/upload/TDU-1.csv", "two")
	r.quiet()
	r.next("TDU-1", "one")
	r.next("TDU-1", "two")
	r.nothing()
}

func TestCompletePanics(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	panics := make(chan bool, 1)
	panics <- true
	complete := r.cfg.Complete
	r.cfg.Complete = func(ctx context.Context, u Upload) error {
		select {
		case <-panics:
			panic("bug")
		default:
			return complete(ctx, u)
		}
	}
	r.start()
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv", "one")
	r.quiet()
	r.next("TDU-1", "one")
}

func TestNamePattern(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{NamePattern: regexp.MustCompile(`trades_(.*)\.txt`)})
	c, _ := r.connect("demo")
	put(t, c, "/upload/trades_TDU-1.txt", "one")
	r.quiet()
	r.next("TDU-1", "one")
	for _, name := range []string{"TDU-1.csv", "trades_.txt", "trades_-1.txt", "trades_1.txt2", "my_trades_1.txt"} {
		if _, err := c.Create("/upload/" + name); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLargestFile(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{MaxFileBytes: 100})
	log, _ := r.watch()
	r.start()
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv.part", strings.Repeat("x", 100))
	if err := c.Truncate("/upload/TDU-1.csv.part", 101); !failed(err) {
		t.Errorf("truncate above the limit: %v", err)
	}
	f := begin(t, c, "/upload/TDU-2.csv", "")
	for range 2 {
		if _, err := f.Write([]byte(strings.Repeat("x", 101))); !failed(err) {
			t.Errorf("write above the limit: %v", err)
		}
	}
	if err := f.Close(); !failed(err) {
		t.Errorf("close after a failed write: %v", err)
	}
	if n := log.count(`msg="sftp request refused" app=demo path=/upload/TDU-2.csv why="a file has at most 100 bytes`); n != 1 {
		t.Errorf("told %d times in the log", n)
	}
	r.quiet()
	r.nothing()
}

func TestOpenFlags(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	if _, err := c.OpenFile("/upload/TDU-1.csv", os.O_WRONLY); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without CREAT: %v", err)
	}
	put(t, c, "/upload/TDU-1.csv", "one")
	if _, err := c.OpenFile("/upload/TDU-1.csv", os.O_WRONLY|os.O_CREATE|os.O_EXCL); !failed(err) {
		t.Errorf("with EXCL: %v", err)
	}
	f, err := c.OpenFile("/upload/TDU-1.csv", os.O_RDWR|os.O_CREATE)
	try(t, err)
	if data, err := io.ReadAll(f); err != nil || string(data) != "one" {
		t.Errorf("without TRUNC: %q, %v", data, err)
	}
	try(t, f.Close())
	f, err = c.OpenFile("/upload/TDU-1.csv", os.O_WRONLY|os.O_APPEND)
	try(t, err)
	if _, err := f.WriteAt([]byte("X"), 0); err == nil {
		t.Error("an append overwrote the start")
	}
	_ = f.Close()
	r.quiet()
	r.nothing()
}

// begin writes the start of a file and keeps it open.
func begin(t *testing.T, c *sftp.Client, name, content string) *sftp.File {
	t.Helper()
	f, err := c.Create(name)
	try(t, err)
	_, err = f.Write([]byte(content))
	try(t, err)
	return f
}

// write opens /upload/TDU-1.csv by flags, writes at off, and closes.
func write(t *testing.T, c *sftp.Client, flags int, off int64, content string) {
	t.Helper()
	f, err := c.OpenFile("/upload/TDU-1.csv", flags)
	try(t, err)
	if content != "" {
		_, err = f.Seek(off, io.SeekStart)
		try(t, err)
		_, err = f.Write([]byte(content))
		try(t, err)
	}
	try(t, f.Close())
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failed reports whether the server answered "failure" with a text that says why.
func failed(err error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxFailure
}
