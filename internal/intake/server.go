// Package intake takes trade files in by SFTP and gives result files out. It decides when an upload is complete and
// hands a stable copy of it over; what is inside a file, who the app is, what happens next and where results come from are
// not its business: it knows no database, no trade rule and no envelope.
//
// On disk each app has a folder of its own:
//
//	<Dir>/<appId>/upload       what the client sees as /upload
//	<Dir>/<appId>/intake       the journal (see journal.go)
//	<Dir>/<appId>/intake/kept  <sha256>.csv, what is complete until it has been taken over; never written again
//
// Dir belongs to one Server at a time and lies on a file system that knows letter case and hard links.
package intake

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Config says where the files lie, who may log in, and what to do with a complete upload.
type Config struct {
	Dir     string
	HostKey ssh.Signer

	// Keys returns the login keys of an app. An unknown or disabled app has none.
	Keys func(ctx context.Context, appID string) ([]ssh.PublicKey, error)
	// Settings returns the rules for an app's uploads.
	Settings func(ctx context.Context, appID string) (Settings, error)
	// Complete takes over one complete upload. It is called once for each, in order for one requestNo, and again with
	// the same Upload when it returned an error or when the process ended before its success was noted: it must know
	// a repeat by (AppID, RequestNo, SHA256).
	Complete func(ctx context.Context, u Upload) error

	// Results lists what an app finds in /result. OpenResult opens one file of it, from which many goroutines may read at
	// once; its error is fs.ErrNotExist when there is none of that name.
	Results    func(ctx context.Context, appID string) ([]ResultFile, error)
	OpenResult func(ctx context.Context, appID, name string) (ResultFile, io.ReaderAt, error)

	// Now is the clock by which uploads come to rest. Nil means time.Now.
	Now func() time.Time
	// Wake returns a channel that is closed, or receives, when Now has been moved. Optional: without it a move is
	// noticed within a second.
	Wake func() <-chan struct{}

	Log *slog.Logger // nil means slog.Default()

	MaxConnections       int           // in all, logged in or not; default 256
	MaxConnectionsPerApp int           // default 16
	LoginGrace           time.Duration // to finish logging in; default 20 s
	IdleTimeout          time.Duration // without a byte either way; default 5 min
}

// Settings are the rules for one app's uploads. The zero value means the defaults.
type Settings struct {
	// Quiet is how long a closed upload lies untouched before it counts as complete; default 5 s.
	Quiet time.Duration
	// RequireMarker demands a .done or .sha256 file beside every upload.
	RequireMarker bool
	// NamePattern matches a whole file name, and its first group is the requestNo. Nil means <requestNo>.csv.
	NamePattern *regexp.Regexp
	// MaxFileBytes is the largest upload; default 1 GiB.
	MaxFileBytes int64
}

// Upload is one complete upload.
type Upload struct {
	AppID     string
	RequestNo string
	Path      string // absolute; a stable copy that nothing changes until it is taken over, when it goes away
	Size      int64
	SHA256    string // hex, lower case
}

// Server is the SFTP server together with the watch over what it received.
type Server struct {
	cfg Config
	ssh *ssh.ServerConfig

	mu         sync.Mutex
	trees      map[string]*tree      // by appID
	conns      map[net.Conn]struct{} // open, logged in or not
	handshakes map[string]int        // connections that have not logged in, by address
	perApp     map[string]int        // logged-in connections by appID
	ctx        context.Context       // of Serve; nil before
	work       sync.WaitGroup        // connections and watchers
}

// New opens the trees that are already there. Nothing is completed or served before Serve.
func New(cfg Config) (*Server, error) {
	if cfg.HostKey == nil || cfg.Keys == nil || cfg.Settings == nil || cfg.Complete == nil || cfg.Results == nil || cfg.OpenResult == nil {
		return nil, errors.New("intake: HostKey, Keys, Settings, Complete, Results and OpenResult are required")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	cfg.Dir = dir
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wake == nil {
		cfg.Wake = func() <-chan struct{} { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.MaxConnections = orDefault(cfg.MaxConnections, 256)
	cfg.MaxConnectionsPerApp = orDefault(cfg.MaxConnectionsPerApp, 16)
	cfg.LoginGrace = orDefault(cfg.LoginGrace, 20*time.Second)
	cfg.IdleTimeout = orDefault(cfg.IdleTimeout, 5*time.Minute)

	s := &Server{
		cfg:        cfg,
		trees:      map[string]*tree{},
		handshakes: map[string]int{},
		conns:      map[net.Conn]struct{}{},
		perApp:     map[string]int{},
	}
	s.ssh = s.sshConfig()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && plainName.MatchString(e.Name()) {
			if _, err := s.tree(e.Name()); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Serve accepts connections and completes uploads until ctx ends; then it closes l and every connection, waits for
// what is running, and returns nil. An upload in progress is thereby cut, and its client can resume it. Call it once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	s.ctx = ctx
	for _, t := range s.trees {
		s.work.Go(func() { t.watch(ctx) })
	}
	s.mu.Unlock()

	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			_ = c.Close()
		}
	})
	defer func() {
		cancel()
		s.work.Wait()
		stop()
	}()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("intake: %w", err)
		case err != nil: // out of file descriptors, or a client that left early: neither ends the server
			s.cfg.Log.Error("sftp accept", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		default:
			s.accept(ctx, c)
		}
	}
}

func (s *Server) accept(ctx context.Context, c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Who has not logged in may not take the room of those who have: each address has a few handshakes at a time.
	address, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	if len(s.conns) >= s.cfg.MaxConnections || s.handshakes[address] >= maxHandshakes || ctx.Err() != nil {
		s.cfg.Log.Warn("sftp connection refused", "remote", c.RemoteAddr().String(), "why", "too many connections")
		_ = c.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.handshakes[address]++
	loggedIn := sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.handshakes[address]--; s.handshakes[address] == 0 {
			delete(s.handshakes, address)
		}
	})
	s.work.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.cfg.Log.Error("sftp connection panicked", "panic", p, "stack", string(debug.Stack()))
			}
			_ = c.Close()
			loggedIn()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
		s.connection(ctx, c, loggedIn)
	})
}

// maxHandshakes is how many connections of one address may be logging in at once.
const maxHandshakes = 32

// connection runs one TCP connection: log in, then SFTP on each session channel.
func (s *Server) connection(ctx context.Context, c net.Conn, loggedIn func()) {
	log := s.cfg.Log.With("remote", c.RemoteAddr().String())
	cfg := *s.ssh
	var user string // as the client last named itself; bounded, since it is the client's text
	cfg.AuthLogCallback = func(m ssh.ConnMetadata, _ string, _ error) { user = fmt.Sprintf("%.64s", m.User()) }

	// The grace is a deadline of its own, which trickling bytes do not push on.
	login := &idleConn{Conn: c}
	_ = c.SetDeadline(time.Now().Add(s.cfg.LoginGrace))
	sc, channels, requests, err := ssh.NewServerConn(login, &cfg)
	if err != nil {
		if user != "" {
			log.Warn("sftp login refused", "app", user, "err", err)
		} else {
			log.Debug("sftp handshake", "err", err)
		}
		return
	}
	loggedIn()
	_ = c.SetDeadline(time.Now().Add(s.cfg.IdleTimeout))
	login.idle.Store(int64(s.cfg.IdleTimeout))

	app := sc.Permissions.Extensions[appExtension]
	log = log.With("app", app)
	if !s.enter(app) {
		log.Warn("sftp connection refused", "why", "too many connections of this app")
		return
	}
	defer s.leave(app)
	log.Info("sftp connected", "client", fmt.Sprintf("%.64s", sc.ClientVersion()))
	defer log.Info("sftp disconnected")

	go ssh.DiscardRequests(requests)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer func() { _ = sc.Close() }() // before the wait: it ends the sessions
	slots := make(chan struct{}, maxSessions)
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sftp sessions")
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = ch.Reject(ssh.ResourceShortage, "too many sessions on this connection")
			continue
		}
		channel, reqs, err := ch.Accept()
		if err != nil {
			<-slots
			continue
		}
		sessions.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					log.Error("sftp session panicked", "panic", p, "stack", string(debug.Stack()))
				}
				_ = channel.Close()
				<-slots
			}()
			s.channel(ctx, log, app, channel, reqs)
		})
	}
}

// maxSessions bounds the session channels of one connection; clients use one, parallel ones a few.
const maxSessions = 8

// channel waits for the sftp subsystem to be asked for and serves it; there is no shell, no exec, no forwarding.
func (s *Server) channel(ctx context.Context, log *slog.Logger, app string, channel ssh.Channel, reqs <-chan *ssh.Request) {
	for req := range reqs {
		var subsystem struct{ Name string }
		ok := req.Type == "subsystem" && ssh.Unmarshal(req.Payload, &subsystem) == nil && subsystem.Name == "sftp"
		_ = req.Reply(ok, nil)
		if !ok {
			continue
		}
		go ssh.DiscardRequests(reqs)
		t, err := s.tree(app)
		if err != nil {
			log.Error("sftp tree", "err", err)
			return
		}
		h := &session{ctx: ctx, tree: t, log: log}
		rs := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h})
		if err := rs.Serve(); err != nil && !errors.Is(err, io.EOF) {
			log.Info("sftp session cut", "err", err)
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
		return
	}
}

// tree returns the app's tree, opened and watched.
func (s *Server) tree(appID string) (*tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.trees[appID]; t != nil {
		return t, nil
	}
	t, err := openTree(&s.cfg, appID)
	if err != nil {
		return nil, fmt.Errorf("intake: app %s: %w", appID, err)
	}
	s.trees[appID] = t
	if ctx := s.ctx; ctx != nil && ctx.Err() == nil {
		s.work.Go(func() { t.watch(ctx) })
	}
	return t, nil
}

func (s *Server) enter(app string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perApp[app] >= s.cfg.MaxConnectionsPerApp {
		return false
	}
	s.perApp[app]++
	return true
}

func (s *Server) leave(app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perApp[app]--; s.perApp[app] == 0 {
		delete(s.perApp, app)
	}
}

// appExtension is where a login's permissions carry the app that was proven, which is the only name used afterwards.
const appExtension = "app"

var errLogin = errors.New("this key may not log in as this user")

// sshConfig allows public keys only, and only algorithms without known weakness: no SHA-1, no CBC, no finite-field
// groups.
func (s *Server) sshConfig() *ssh.ServerConfig {
	c := &ssh.ServerConfig{
		ServerVersion:           "SSH-2.0-Infinia",
		PublicKeyAuthAlgorithms: ssh.SupportedAlgorithms().PublicKeyAuths,
		PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			app := m.User()
			if !plainName.MatchString(app) {
				return nil, errLogin
			}
			keys, err := s.cfg.Keys(s.ctx, app)
			if err != nil {
				s.cfg.Log.Error("sftp login keys", "app", app, "err", err)
			}
			offered, found := key.Marshal(), 0
			for _, k := range keys {
				found |= subtle.ConstantTimeCompare(offered, k.Marshal())
			}
			if err != nil || found == 0 {
				return nil, errLogin
			}
			return &ssh.Permissions{Extensions: map[string]string{appExtension: app}}, nil
		},
	}
	c.KeyExchanges = []string{
		ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
		ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
	}
	c.Ciphers = []string{
		ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128CTR, ssh.CipherAES256CTR,
	}
	// The two plain ones are for clients built on older libssh2, curl among them, which know no better.
	c.MACs = []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512}
	c.AddHostKey(s.cfg.HostKey)
	return c
}
