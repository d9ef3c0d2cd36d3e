// Package infiniatest gives a test a whole Infinia: the engine of production with its envelope, SQLite, SFTP and webhooks,
// one app with keys, and what acts as the app's sellers and its operator. It listens on loopback and calls nothing else.
//
//	func TestPayout(t *testing.T) {
//		sandbox := infiniatest.New(t)
//		sandbox.BindSeller("SELLER-1", "CNH")
//		sandbox.Deposit("CNH", "5000.00")
//		sandbox.UploadTrades("TDU-1", infiniatest.Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "1200.00"})
//		// Now the code under test may share up to 1200.00, by sandbox.Client or a client of its own.
//	}
//
// Sandboxes share nothing but RSA keys, which a process makes once: any number may run at the same time. No test has to
// sleep: a method returns when what follows from it is done, a webhook's first try included, and Advance moves the clock.
package infiniatest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/server"
)

// Sandbox is a running system with one app. A method that fails ends the test, so call it where t.Fatal may be called.
type Sandbox struct {
	Client *infinia.Client // calls as the app

	// For a client of one's own.
	AppID       string
	BaseURL     string
	ClientKey   *rsa.PrivateKey
	PlatformKey *rsa.PublicKey

	// For an SFTP client of one's own, which logs in as AppID.
	SFTPAddr    string
	SFTPKey     []byte // private, in OpenSSH's format
	SFTPHostKey []byte // the server's, a line as in authorized_keys

	t    failer
	log  *slog.Logger
	dir  string // to remove, when there is no test that does it
	box  *server.Sandbox
	acts atomic.Int64 // of the operator and the app, to number them

	mu       sync.Mutex
	settings Settings           // guarded by mu; as the app has them
	hooks    []*httptest.Server // guarded by mu; of Webhooks
}

// failer is the part of a testing.TB that there is also in an Example.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// New starts a sandbox and stops it when the test ends. Warnings and errors of the server go into the test's log.
func New(t testing.TB, opts ...Option) *Sandbox {
	t.Helper()
	s := &Sandbox{t: t, log: warnings(t.Output())}
	s.must("start a sandbox", s.start(t.TempDir(), opts))
	t.Cleanup(s.Close)
	return s
}

// Start starts a sandbox where there is no test, as in an Example. Its methods panic where they would fail a test.
func Start(opts ...Option) *Sandbox {
	s := &Sandbox{t: panics{}, log: warnings(os.Stderr)}
	var err error
	s.dir, err = os.MkdirTemp("", "infiniatest-")
	s.must("start a sandbox", err)
	if err := s.start(s.dir, opts); err != nil {
		os.RemoveAll(s.dir)
		s.must("start a sandbox", err)
	}
	return s
}

type panics struct{}

func (panics) Helper() {}

func (panics) Fatalf(format string, args ...any) { panic(fmt.Sprintf("infiniatest: "+format, args...)) }

func warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// Option changes a sandbox from its default.
type Option func(*options)

type options struct {
	settings Settings
	keyBits  int
	log      *slog.Logger
}

// WithSettings starts with other settings of the app than the default ones.
func WithSettings(set Settings) Option { return func(o *options) { o.settings = set } }

// WithKeyBits sets the length of the RSA keys, 2048 by default. The first sandbox of a process with keys of 4096 bits takes
// seconds to start.
func WithKeyBits(n int) Option { return func(o *options) { o.keyBits = n } }

// WithLogger sets where the server logs.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

func (s *Sandbox) start(dir string, opts []Option) error {
	o := options{keyBits: 2048, log: s.log}
	for _, opt := range opts {
		opt(&o)
	}
	s.log, s.settings = o.log, o.settings
	keys, err := keysOf(o.keyBits)
	if err != nil {
		return err
	}
	box, err := server.StartSandbox(context.Background(), server.SandboxConfig{
		Config: server.Config{Data: dir, HTTP: "127.0.0.1:0", SFTP: "127.0.0.1:0", KeyBits: o.keyBits,
			CallsPerSecond: unlimited, Log: s.log},
		Settings: s.settings.stored(), PlatformKey: keys.platform, ClientKey: keys.client})
	if err != nil {
		return err
	}
	s.box, s.Client = box, box.Client
	s.AppID, s.BaseURL, s.ClientKey, s.PlatformKey = box.File.AppID, box.File.API, box.ClientKey, box.PlatformKey
	s.SFTPAddr = box.File.SFTP
	if s.SFTPKey, err = os.ReadFile(box.File.SFTPPrivateKey); err == nil {
		s.SFTPHostKey, err = os.ReadFile(box.File.SFTPHostKey)
	}
	if err != nil {
		s.Close()
	}
	return err
}

// Close stops the sandbox and forgets all that is in it. It may be called more than once, and in the middle of a test: from
// then on nobody answers the app.
func (s *Sandbox) Close() {
	s.t.Helper()
	err := s.box.Close(context.Background())
	s.mu.Lock()
	hooks := s.hooks
	s.hooks = nil
	s.mu.Unlock()
	for _, h := range hooks {
		h.Close()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	s.must("stop the sandbox", err)
}

func (s *Sandbox) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// keyPairs are by their length in bits; see keysOf.
var keyPairs sync.Map

type keyPair struct{ client, platform *rsa.PrivateKey }

// keysOf makes the keys of a length once: that takes longer than all the rest of a start.
func keysOf(bits int) (keyPair, error) {
	made, _ := keyPairs.LoadOrStore(bits, sync.OnceValues(func() (k keyPair, err error) {
		if k.client, err = rsa.GenerateKey(rand.Reader, bits); err == nil {
			k.platform, err = rsa.GenerateKey(rand.Reader, bits)
		}
		return k, err
	}))
	return made.(func() (keyPair, error))()
}
