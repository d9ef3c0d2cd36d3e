package intake

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// Where a login's permissions carry the app that was proven, which is the only name used afterwards, and the fingerprint of
// the key that proved it.
const (
	appExtension = "app"
	keyExtension = "key"
)

var errLogin = errors.New("this key may not log in as this user")

// login lets one connection log in, or says nothing more than that it may not.
func (s *Server) login(ctx context.Context, log *slog.Logger, c net.Conn, from netip.Prefix) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LoginGrace)
	defer cancel()
	cfg := *s.ssh
	var known bool // a key of the app was named, and is to be proven next
	cfg.PublicKeyCallback = func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		p, err := s.permit(ctx, m.User(), key)
		known = known || err == nil
		return p, err
	}
	var wrong int
	cfg.AuthLogCallback = func(m ssh.ConnMetadata, method string, err error) {
		if err == nil || method == "none" || errors.Is(err, errLater) {
			return
		}
		wrong++
		s.wrongKey(ctx, log.With("app", fmt.Sprintf("%.64s", m.User()), "client", fmt.Sprintf("%.64s", m.ClientVersion())), c, from, err)
	}
	sc, channels, requests, err := ssh.NewServerConn(c, &cfg)
	var (
		negotiation *ssh.AlgorithmNegotiationError
		given       *ssh.ServerAuthError
		network     net.Error
	)
	switch {
	case err == nil:
		s.bars.right(from)
		s.count.logins.WithLabelValues("accepted").Inc()
		return sc, channels, requests, nil
	case errors.As(err, &negotiation):
		s.seldom.Do(func() { log.Warn("sftp client knows none of the algorithms", "err", err) })
	case errors.As(err, &given), errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), wrong > 0 || !known:
		log.Debug("sftp handshake", "err", err)
	default: // it named a key that is not its own
		s.wrongKey(ctx, log, c, from, err)
	}
	return nil, nil, nil, err
}

// wrongKey counts, logs the first ones, and answers the later ones slowly.
func (s *Server) wrongKey(ctx context.Context, log *slog.Logger, c net.Conn, from netip.Prefix, why error) {
	s.count.logins.WithLabelValues("refused").Inc()
	n, begins := s.bars.wrong(from)
	if begins {
		s.count.bars.Inc()
		log.Warn("sftp address barred", "range", from.String(), "wrongKeys", n, "for", s.bars.last)
	}
	if _, barred := s.bars.barred(from); barred {
		_ = c.Close()
		return
	}
	if n <= patience {
		log.Warn("sftp login refused", "err", why)
		return
	}
	slow := time.NewTimer(s.cfg.WrongKeyDelay)
	defer slow.Stop()
	select {
	case <-slow.C:
	case <-ctx.Done(): // the grace is over, though the connection's own deadline may be a moment behind
		_ = c.Close()
	}
}

// permit says whether the key is one of the app's.
func (s *Server) permit(ctx context.Context, app string, key ssh.PublicKey) (*ssh.Permissions, error) {
	if !plainName.MatchString(app) {
		return nil, errLogin
	}
	keys, err := s.cfg.Keys(ctx, app)
	if err != nil {
		s.cfg.Log.Error("sftp login keys", "app", app, "err", err)
		return nil, errLater // no wrong key, but no right one either
	}
	offered, found := key.Marshal(), 0
	for _, k := range keys {
		found |= subtle.ConstantTimeCompare(offered, k.Marshal())
	}
	if found == 0 {
		return nil, errLogin
	}
	return &ssh.Permissions{Extensions: map[string]string{appExtension: app, keyExtension: ssh.FingerprintSHA256(key)}}, nil
}

// recheck ends a connection whose key has been retired, or whose app has been disabled, since it logged in. That the keys
// cannot be looked up is no answer.
func (s *Server) recheck(ctx context.Context, log *slog.Logger, p *ssh.Permissions, end func()) {
	tick := time.NewTicker(s.cfg.KeyCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		keys, err := s.cfg.Keys(ctx, p.Extensions[appExtension])
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.seldom.Do(func() { log.Error("sftp key not looked up again", "err", err) })
		case !slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return ssh.FingerprintSHA256(k) == p.Extensions[keyExtension] }):
			log.Warn("sftp connection ended", "why", "its key was retired or its app disabled")
			end()
			return
		}
	}
}

// sshConfig allows public keys only, and only algorithms without known weakness: no SHA-1, no CBC, no finite-field
// groups. With an old host key it adds what clients of about 2010 need, at the end, so that newer ones do not take it;
// what can be broken in practice (1024-bit groups, DSA, 3DES, RC4, MD5) stays out.
func (s *Server) sshConfig() *ssh.ServerConfig {
	c := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-Infinia",
		PublicKeyAuthAlgorithms: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
			ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
			ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512,
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
	if s.cfg.OldHostKey != nil {
		c.PublicKeyAuthAlgorithms = append(c.PublicKeyAuthAlgorithms, ssh.KeyAlgoRSA)
		c.KeyExchanges = append(c.KeyExchanges, ssh.KeyExchangeDHGEXSHA256, ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDH14SHA256, ssh.InsecureKeyExchangeDH14SHA1)
		c.Ciphers = append(c.Ciphers, ssh.CipherAES192CTR, ssh.InsecureCipherAES128CBC)
		c.MACs = append(c.MACs, ssh.HMACSHA1)
		c.AddHostKey(s.cfg.OldHostKey)
	}
	return c
}
