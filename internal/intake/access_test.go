package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia/internal/storetest"
)

func TestLoginRefused(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	stranger, _ := newKey(t)
	for name, login := range map[string]struct {
		user string
		key  ssh.Signer
	}{
		"another key":        {"demo", stranger},
		"another app's key":  {"demo", r.keys["other"]},
		"unknown app":        {"nobody", r.keys["demo"]},
		"letter case":        {"Demo", r.keys["demo"]},
		"no name":            {"", r.keys["demo"]},
		"a path for a name":  {"../demo", r.keys["demo"]},
		"a folder of others": {"demo/upload", r.keys["demo"]},
	} {
		if _, _, err := r.login(login.user, login.key); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(r.cfg.Dir, "nobody")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused login left a folder: %v", err)
	}
}

func TestKeysUnavailable(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	keys, away := r.cfg.Keys, make(chan error, 1)
	r.cfg.Keys = func(ctx context.Context, app string) ([]ssh.PublicKey, error) {
		k, _ := keys(ctx, app)
		select {
		case err := <-away:
			return k, err
		default:
			return k, nil
		}
	}
	r.cfg.WrongKeys = 1
	r.start()
	away <- errors.New("database away")
	if _, _, err := r.login("demo", r.keys["demo"]); err == nil {
		t.Error("logged in though the keys could not be read")
	}
	if _, _, err := r.login("demo", r.keys["demo"]); err != nil {
		t.Errorf("a fault of the server's counts as a wrong key: %v", err)
	}
}

func TestAppsAreApart(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	demo, _ := r.connect("demo")
	other, _ := r.connect("other")
	put(t, demo, "/upload/TDU-1.csv", "demo's")
	put(t, other, "/upload/TDU-1.csv", "other's")
	r.result("other", "TDU-1_summary.json", "{}")
	if got := read(t, demo, "/upload/TDU-1.csv"); got != "demo's" {
		t.Errorf("demo reads %q", got)
	}
	if got := listed(t, demo, "/"); !slices.Equal(got, []string{"result", "upload"}) {
		t.Errorf("the root shows %v", got)
	}
	if got := listed(t, demo, "/result"); len(got) != 0 {
		t.Errorf("demo sees %v", got)
	}
	if _, err := demo.Open("/result/TDU-1_summary.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("demo opens other's result: %v", err)
	}
	r.quiet()
	got := map[string]string{}
	for range 2 {
		select {
		case u := <-r.got:
			got[u.AppID] = u.content
		case <-time.After(deadline):
			t.Fatal("not handed over")
		}
	}
	if got["demo"] != "demo's" || got["other"] != "other's" {
		t.Errorf("handed over %v", got)
	}
}

func TestNoWayOut(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv.part", "one")
	// What an operator might leave there is no way out either.
	secret := filepath.Join(t.TempDir(), "secret")
	try(t, os.WriteFile(secret, []byte("secret"), 0o600))
	upload := filepath.Join(r.cfg.Dir, "demo", "upload")
	try(t, os.Symlink(secret, filepath.Join(upload, "link.csv")))
	try(t, os.Symlink("TDU-1.csv.part", filepath.Join(upload, "inner.csv")))

	for _, name := range []string{
		"/intake/kept", "/intake/files", "/upload/../intake/kept", "/result/../intake/kept", "/result/a\x00b", "/result/\xff", "/../other/upload", "/upload/../../other/upload/TDU-1.csv",
		"/etc/passwd", "../../../etc/passwd", "/upload/TDU-1.csv.part/x", "/upload/link.csv", "/upload/inner.csv", "/upload/a\x00b",
	} {
		if _, err := c.Open(name); err == nil {
			t.Errorf("opened %q", name)
		}
		if _, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC); err == nil {
			t.Errorf("wrote %q", name)
		}
		if _, err := c.Stat(name); err == nil {
			t.Errorf("described %q", name)
		}
		if _, err := c.ReadDir(name); err == nil {
			t.Errorf("listed %q", name)
		}
		if err := c.PosixRename("/upload/TDU-1.csv.part", name); err == nil {
			t.Errorf("renamed to %q", name)
		}
		if err := c.Truncate(name, 0); err == nil {
			t.Errorf("truncated %q", name)
		}
		if err := c.Remove(name); err == nil {
			t.Errorf("removed %q", name)
		}
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != "secret" {
		t.Errorf("secret is now %q, %v", data, err)
	}
	for what, err := range map[string]error{
		"symlink":         c.Symlink("/etc/passwd", "/upload/a.csv"),
		"hard link":       c.Link("/upload/TDU-1.csv.part", "/upload/a.csv"),
		"mkdir":           c.Mkdir("/upload/a"),
		"rmdir":           c.RemoveDirectory("/upload"),
		"remove a folder": c.Remove("/result"),
		"rename a folder": c.Rename("/upload", "/result/upload"),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := listed(t, c, "/upload"); !slices.Equal(got, []string{"TDU-1.csv.part"}) {
		t.Errorf("listed %v", got)
	}
}

func TestResultIsReadOnly(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	r.result("demo", "TDU-1_error.csv", "worse")
	if got := read(t, c, "/result/TDU-1_error.csv"); got != "worse" {
		t.Errorf("read %q", got)
	}
	put(t, c, "/upload/x.csv.part", "x")
	_, created := c.Create("/result/new.csv")
	_, opened := c.OpenFile("/result/TDU-1_error.csv", os.O_RDWR)
	for what, err := range map[string]error{
		"create":      created,
		"mkdir":       c.Mkdir("/result/x"),
		"open":        opened,
		"remove":      c.Remove("/result/TDU-1_error.csv"),
		"rename in":   c.Rename("/upload/x.csv.part", "/result/x.csv"),
		"rename out":  c.Rename("/result/TDU-1_error.csv", "/upload/x.csv"),
		"rename over": c.PosixRename("/upload/x.csv.part", "/result/TDU-1_error.csv"),
		"truncate":    c.Truncate("/result/TDU-1_error.csv", 0),
		"chmod":       c.Chmod("/result/TDU-1_error.csv", 0o777),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := read(t, c, "/result/TDU-1_error.csv"); got != "worse" {
		t.Errorf("read %q afterwards", got)
	}
}

// TestResultIsServedFromElsewhere: what a client is told of a result is what it gets, and a fault behind it is told as one.
func TestResultIsServedFromElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	open, list := r.cfg.OpenResult, r.cfg.Results
	broken := make(chan error, 3)
	r.cfg.OpenResult = func(ctx context.Context, app, name string) (ResultFile, io.ReaderAt, error) {
		select {
		case err := <-broken:
			return ResultFile{}, nil, err
		default:
			return open(ctx, app, name)
		}
	}
	r.cfg.Results = func(ctx context.Context, app, after string, most int) ([]ResultFile, error) {
		select {
		case err := <-broken:
			return nil, err
		default:
			return list(ctx, app, after, most)
		}
	}
	r.start()
	r.result("demo", "TDU-1_summary.json", "{}")
	r.result("demo", "TDU-1_error.csv", strings.Repeat("bad", 100_000))
	c, _ := r.connect("demo")
	if got := listed(t, c, "/result"); !slices.Equal(got, []string{"TDU-1_error.csv", "TDU-1_summary.json"}) {
		t.Errorf("listed %v", got)
	}
	info, err := c.Stat("/result/TDU-1_error.csv")
	try(t, err)
	if info.Size() != 300_000 || info.Mode() != 0o400 || !info.ModTime().Equal(r.clock.Now()) {
		t.Errorf("described as %d bytes, %v, %v", info.Size(), info.Mode(), info.ModTime())
	}
	if got := read(t, c, "/result/TDU-1_error.csv"); got != strings.Repeat("bad", 100_000) {
		t.Errorf("read %d bytes", len(got))
	}
	if _, err := c.Stat("/result/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	for range 3 {
		broken <- errors.New("database away: secret detail")
	}
	_, opened := c.Open("/result/TDU-1_error.csv")
	_, described := c.Stat("/result/TDU-1_error.csv")
	_, listing := c.ReadDir("/result")
	for what, err := range map[string]error{"open": opened, "stat": described, "list": listing} {
		if !failed(err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s while the database is away: %v", what, err)
		}
	}
}

// /result grows without bound: an open folder holds one page of it.
func TestResultsAreListedInPages(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	list := r.cfg.Results
	var pages atomic.Int64
	r.cfg.Results = func(ctx context.Context, app, after string, most int) ([]ResultFile, error) {
		pages.Add(1)
		if most > 100 {
			t.Errorf("%d are asked for at once", most)
		}
		return list(ctx, app, after, most)
	}
	r.start()
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("TDU-%03d_summary.json", i))
		r.result("demo", want[i], "{}")
	}
	r.result("other", "TDU-301_summary.json", "{}")
	c, _ := r.connect("demo")
	for range maxHandles + 1 { // it closes what it opens
		if got := listed(t, c, "/result"); !slices.Equal(got, want) {
			t.Fatalf("listed %d: %v", len(got), got)
		}
	}
	if n := pages.Load(); n != 4*(maxHandles+1) {
		t.Errorf("%d pages were asked for, want 4 each time", n)
	}
	if _, err := c.ReadDir("/result/TDU-001_summary.json"); !failed(err) {
		t.Errorf("listing a file: %v", err)
	}
}

// A fault of what results come from is no answer to whether there is one.
func TestFaultIsNoMissingResult(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	absent := errors.New("database fault")
	r.cfg.OpenResult = func(context.Context, string, string) (ResultFile, io.ReaderAt, error) {
		return ResultFile{}, nil, absent
	}
	r.cfg.Results = func(context.Context, string, string, int) ([]ResultFile, error) { return nil, absent }
	log, _ := r.watch()
	r.start()
	c, _ := r.connect("demo")
	_, opened := c.Open("/result/TDU-1_summary.json")
	_, described := c.Stat("/result/TDU-1_summary.json")
	_, listing := c.ReadDir("/result")
	for what, err := range map[string]error{"open": opened, "stat": described, "list": listing} {
		if !failed(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := log.count("database fault"); n != 3 {
		t.Errorf("%d of 3 faults are logged", n)
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.MaxConnections, r.cfg.MaxConnectionsPerApp = 3, 2
	r.start()
	in := func(app string) bool {
		_, _, err := r.login(app, r.keys[app])
		return err == nil
	}
	_, conn := r.connect("demo")
	r.connect("demo")
	if in("demo") {
		t.Error("a third connection of one app")
	}
	storetest.Until(t, "the refused connection to be gone", func() bool { return in("other") })
	if in("other") {
		t.Error("a fourth connection in all")
	}
	try(t, conn.Close())
	storetest.Until(t, "room", func() bool { return in("demo") })
}

// Whoever does not log in, from however many addresses, leaves half of the room to those who have.
func TestStrangersLeaveHalfOfTheRoom(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.MaxConnections, r.cfg.LoginGrace = 8, time.Hour
	r.start()
	loggedIn := func() {
		storetest.Until(t, "the login to be known", func() bool { r.srv.mu.Lock(); defer r.srv.mu.Unlock(); return len(r.srv.handshakes) == 0 })
	}
	for range 3 {
		r.connect("demo")
		loggedIn()
	}
	var greeted []net.Conn
	for i := range 8 {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
		conn, err := dialer.Dial("tcp", r.addr)
		try(t, err)
		defer func() { _ = conn.Close() }()
		try(t, conn.SetDeadline(time.Now().Add(deadline)))
		if _, err := io.ReadFull(conn, make([]byte, 4)); err == nil {
			greeted = append(greeted, conn)
		}
	}
	if len(greeted) != 4 {
		t.Errorf("%d strangers have room, want 4", len(greeted))
	}
	try(t, greeted[0].Close())
	storetest.Until(t, "room for another", func() bool { _, _, err := r.login("demo", r.keys["demo"]); return err == nil })
}

// A connection over the app's limit leaves nothing behind, whatever it sends at once. Not parallel: it counts goroutines.
func TestRefusedConnectionLeavesNothing(t *testing.T) {
	r := newRig(t, Settings{})
	r.cfg.MaxConnectionsPerApp = 1
	r.start()
	r.connect("demo")
	loops := func() int {
		stacks := make([]byte, 8<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "ssh.(*mux).loop")
	}
	before := loops()
	for range 50 {
		conn, err := net.Dial("tcp", r.addr)
		try(t, err)
		sc, _, _, err := ssh.NewClientConn(conn, r.addr, &ssh.ClientConfig{
			User:            "demo",
			Auth:            []ssh.AuthMethod{ssh.PublicKeys(r.keys["demo"])},
			HostKeyCallback: ssh.FixedHostKey(r.cfg.HostKey.PublicKey()),
		})
		if err == nil {
			for range 200 {
				if _, _, err := sc.SendRequest("x", false, nil); err != nil {
					break
				}
			}
		}
		_ = conn.Close()
	}
	storetest.Until(t, "the refused connections to be gone", func() bool { return loops() <= before })
}

// A key that is retired ends what it has opened, wherever that is; that the keys cannot be looked up does not.
func TestRetiredKeyEndsItsConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.KeyCheck = 10 * time.Millisecond
	second, _ := newKey(t)
	var mu sync.Mutex
	keys, away, asked := []ssh.PublicKey{r.keys["demo"].PublicKey(), second.PublicKey()}, error(nil), 0 // guarded by mu
	r.cfg.Keys = func(context.Context, string) ([]ssh.PublicKey, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if away != nil {
			return nil, away
		}
		return keys, nil
	}
	set := func(err error, now ...ssh.PublicKey) {
		mu.Lock()
		defer mu.Unlock()
		keys, away, asked = now, err, 0
	}
	again := func(n int) {
		storetest.Until(t, "the keys to be looked up again", func() bool { mu.Lock(); defer mu.Unlock(); return asked >= n })
	}
	r.start()
	c, _ := r.connect("demo")
	other, _, err := r.login("demo", second)
	try(t, err)
	begin(t, c, "/upload/TDU-1.csv", "half")
	set(errors.New("database away"))
	again(6)
	put(t, c, "/upload/TDU-2.csv.part", "the connection is still there")

	set(nil, second.PublicKey())
	cut := make(chan error, 1)
	go func() { cut <- c.Wait() }()
	select {
	case <-cut:
	case <-time.After(deadline):
		t.Fatal("a retired key goes on")
	}
	r.ended("demo", "TDU-1.csv")
	again(3)
	f, err := other.OpenFile("/upload/TDU-1.csv", os.O_WRONLY) // the other key is none of it
	try(t, err)
	_, err = f.WriteAt([]byte(" whole"), 4)
	try(t, errors.Join(err, f.Close()))
	r.quiet()
	r.next("TDU-1", "half whole")

	set(nil) // as of a disabled app
	go func() { cut <- other.Wait() }()
	select {
	case <-cut:
	case <-time.After(deadline):
		t.Fatal("a disabled app goes on")
	}
}

func TestLoginGrace(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.LoginGrace = 100 * time.Millisecond
	r.start()
	conn, err := net.Dial("tcp", r.addr)
	try(t, err)
	defer func() { _ = conn.Close() }()
	try(t, conn.SetDeadline(time.Now().Add(deadline)))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("who does not log in is not cut off: %v", err)
	}
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.IdleTimeout = time.Second
	r.start()
	c, _ := r.connect("demo")
	cut := make(chan error, 1)
	go func() { cut <- c.Wait() }()
	select {
	case <-cut:
	case <-time.After(deadline):
		t.Error("an idle client is not cut off")
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	c, _ := r.connect("demo")
	put(t, c, "/upload/TDU-1.csv.part", "one")
	var files []*sftp.File
	for range maxHandles {
		f, err := c.Open("/upload/TDU-1.csv.part")
		try(t, err)
		files = append(files, f)
	}
	if _, err := c.Open("/upload/TDU-1.csv.part"); !failed(err) {
		t.Errorf("one more: %v", err)
	}
	r.result("demo", "TDU-1_summary.json", "{}")
	if _, err := c.Open("/result/TDU-1_summary.json"); !failed(err) {
		t.Errorf("a result more: %v", err)
	}
	try(t, files[0].Close())
	if got := read(t, c, "/result/TDU-1_summary.json") + read(t, c, "/upload/TDU-1.csv.part"); got != "{}one" {
		t.Errorf("read %q", got)
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	bug := make(chan bool, 1)
	bug <- true
	r.cfg.Settings = func(context.Context, string) (Settings, error) {
		select {
		case <-bug:
			panic("bug")
		default:
			return Settings{}, nil
		}
	}
	r.start()
	c, _ := r.connect("demo")
	if _, err := c.Create("/upload/TDU-1.csv"); !failed(err) {
		t.Errorf("the request that met the bug: %v", err)
	}
	put(t, c, "/upload/TDU-1.csv", "one")
}

func TestOnlySFTP(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	client, err := ssh.Dial("tcp", r.addr, &ssh.ClientConfig{
		User:            "demo",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(r.keys["demo"])},
		HostKeyCallback: ssh.FixedHostKey(r.cfg.HostKey.PublicKey()),
	})
	try(t, err)
	defer func() { _ = client.Close() }()
	s, err := client.NewSession()
	try(t, err)
	if err := s.Run("id"); err == nil {
		t.Error("ran a command")
	}
	if _, err := client.Dial("tcp", r.addr); err == nil {
		t.Error("forwarded a port")
	}
}

func TestHostKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "host_key")
	made, err := LoadOrMakeHostKey(path)
	try(t, err)
	loaded, err := LoadOrMakeHostKey(path)
	try(t, err)
	if string(made.PublicKey().Marshal()) != string(loaded.PublicKey().Marshal()) || made.PublicKey().Type() != ssh.KeyAlgoED25519 {
		t.Error("the key changed")
	}
	info, err := os.Stat(path)
	try(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	try(t, os.WriteFile(path, []byte("damaged"), 0o600))
	if _, err := LoadOrMakeHostKey(path); err == nil {
		t.Error("a damaged key was replaced or accepted")
	}
}

func listed(t *testing.T, c *sftp.Client, dir string) []string {
	t.Helper()
	infos, err := c.ReadDir(dir)
	try(t, err)
	var names []string
	for _, i := range infos {
		names = append(names, i.Name())
	}
	slices.Sort(names)
	return names
}
