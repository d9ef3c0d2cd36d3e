package intake

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia/internal/storetest"
)

// deadline is what nothing in these tests should come near to.
const deadline = 15 * time.Second

// clock is a sandbox clock: it stands still until it is moved.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	moved chan struct{}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Wake() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	close(c.moved)
	c.moved = make(chan struct{})
}

// handed is an upload with what its copy held.
type handed struct {
	Upload
	content string
}

// rig is a server with two apps, "demo" and "other", and everything that it handed over.
type rig struct {
	t     *testing.T
	cfg   Config
	clock *clock
	keys  map[string]ssh.Signer
	files map[string]string // private key files, for the OpenSSH client
	got   chan handed
	fail  chan error // Complete answers with what is waiting here first

	mu      sync.Mutex
	results map[string]string // by app/name; guarded by mu

	set  Settings
	srv  *Server
	addr string
	stop func()
	mark int
}

func newRig(t *testing.T, set Settings) *rig {
	t.Helper()
	r := &rig{
		t:     t,
		clock: &clock{now: time.Date(2025, 9, 3, 12, 0, 0, 0, time.UTC), moved: make(chan struct{})},
		keys:  map[string]ssh.Signer{},
		files: map[string]string{},
		got:   make(chan handed, 100),
		fail:  make(chan error, 100),
		set:   set,

		results: map[string]string{},
	}
	for _, app := range []string{"demo", "other"} {
		r.keys[app], r.files[app] = newKey(t)
	}
	host, err := LoadOrMakeHostKey(filepath.Join(t.TempDir(), "host", "key"))
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = Config{
		Dir:     t.TempDir(),
		HostKey: host,
		Keys: func(_ context.Context, app string) ([]ssh.PublicKey, error) {
			if k := r.keys[app]; k != nil {
				return []ssh.PublicKey{k.PublicKey()}, nil
			}
			return nil, nil
		},
		Settings: func(context.Context, string) (Settings, error) { return r.set, nil },
		Complete: r.complete,
		Results: func(_ context.Context, app, after string, most int) (files []ResultFile, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for name, content := range r.results {
				if name, ok := strings.CutPrefix(name, app+"/"); ok && name > after {
					files = append(files, ResultFile{name, int64(len(content)), r.clock.Now()})
				}
			}
			slices.SortFunc(files, func(a, b ResultFile) int { return strings.Compare(a.Name, b.Name) })
			return files[:min(most, len(files))], nil
		},
		OpenResult: func(_ context.Context, app, name string) (ResultFile, io.ReaderAt, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			content, ok := r.results[app+"/"+name]
			if !ok {
				return ResultFile{}, nil, fs.ErrNotExist
			}
			return ResultFile{name, int64(len(content)), r.clock.Now()}, strings.NewReader(content), nil
		},
		Now:  r.clock.Now,
		Wake: r.clock.Wake,
		Log:  slog.New(slog.DiscardHandler),
	}
	return r
}

func start(t *testing.T, set Settings) *rig {
	t.Helper()
	r := newRig(t, set)
	r.start()
	return r
}

func (r *rig) complete(_ context.Context, u Upload) error {
	select {
	case err := <-r.fail:
		return err
	default:
	}
	data, err := os.ReadFile(u.Path)
	if err != nil {
		return err
	}
	if int64(len(data)) != u.Size || hexSum(data) != u.SHA256 || !filepath.IsAbs(u.Path) {
		return fmt.Errorf("%+v does not describe its file", u)
	}
	r.got <- handed{u, string(data)}
	return nil
}

// result puts a file into an app's /result.
func (r *rig) result(app, name, content string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[app+"/"+name] = content
}

// kept are the copies of demo's uploads that are still there.
func (r *rig) kept() []string {
	r.t.Helper()
	entries, err := os.ReadDir(filepath.Join(r.cfg.Dir, "demo", "intake", "kept"))
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (r *rig) start() {
	r.t.Helper()
	srv, err := New(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	r.srv, r.addr = srv, l.Addr().String()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				r.t.Errorf("Serve: %v", err)
			}
		case <-time.After(deadline):
			r.t.Error("Serve does not end")
		}
	})
	r.t.Cleanup(func() { r.stop() })
}

// connect logs in and returns the client with the connection under it.
func (r *rig) connect(app string) (*sftp.Client, net.Conn) {
	r.t.Helper()
	c, conn, err := r.login(app, r.keys[app])
	if err != nil {
		r.t.Fatal(err)
	}
	return c, conn
}

func (r *rig) login(user string, keys ...ssh.Signer) (*sftp.Client, net.Conn, error) {
	return r.loginFrom("127.0.0.1", user, keys...)
}

// loginFrom logs in from one of this machine's addresses.
func (r *rig) loginFrom(local, user string, keys ...ssh.Signer) (*sftp.Client, net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}, Timeout: deadline}
	conn, err := dialer.Dial("tcp", r.addr)
	if err != nil {
		return nil, nil, err
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	sc, channels, reqs, err := ssh.NewClientConn(conn, r.addr, &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(keys...)},
		HostKeyCallback: ssh.FixedHostKey(r.cfg.HostKey.PublicKey()),
		Timeout:         deadline,
	})
	if err != nil {
		return nil, nil, err
	}
	c, err := sftp.NewClient(ssh.NewClient(sc, channels, reqs))
	return c, conn, err
}

// next is the upload handed over next.
func (r *rig) next(requestNo, content string) Upload {
	r.t.Helper()
	select {
	case u := <-r.got:
		if u.RequestNo != requestNo || u.content != content {
			r.t.Fatalf("got %s with %d bytes, want %s with %d", u.RequestNo, len(u.content), requestNo, len(content))
		}
		return u.Upload
	case <-time.After(deadline):
		r.t.Fatalf("%s was not handed over", requestNo)
		panic("unreachable")
	}
}

// nothing checks that no upload of demo is complete now: the watcher looks at all of them before it hands over a
// later one that is.
func (r *rig) nothing() {
	r.t.Helper()
	c, _ := r.connect("demo")
	defer func() { _ = c.Close() }()
	r.mark++
	no := fmt.Sprintf("MARK-%d", r.mark)
	put(r.t, c, "/upload/"+no+".csv", no)
	put(r.t, c, "/upload/"+no+".csv.sha256", hexSum([]byte(no)))
	r.next(no, no)
}

// quiet lets the quiet period pass.
func (r *rig) quiet() { r.clock.move(time.Minute) }

// ended waits until nobody writes the file.
func (r *rig) ended(app, name string) {
	r.t.Helper()
	storetest.Until(r.t, "the end of "+name, func() bool {
		t, err := r.srv.tree(app)
		if err != nil {
			r.t.Fatal(err)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.peek(name).writer == nil
	})
}

func put(t *testing.T, c *sftp.Client, name, content string) {
	t.Helper()
	f, err := c.Create(name)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	_, err = f.Write([]byte(content))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

func read(t *testing.T, c *sftp.Client, name string) string {
	t.Helper()
	f, err := c.Open(name)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	defer func() { _ = f.Close() }()
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return keyFile(t, private)
}

func keyFile(t *testing.T, private crypto.PrivateKey) (ssh.Signer, string) {
	t.Helper()
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "test")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return key, path
}
