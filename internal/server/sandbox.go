package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/store"
)

// SandboxFile is <data>/sandbox.json, by which a client in any language finds the sandbox. It is there when, and only when,
// the sandbox is ready.
type SandboxFile struct {
	API               string `json:"api"`
	Admin             string `json:"admin"`
	Console           string `json:"console"`
	SFTP              string `json:"sftp"`
	AppID             string `json:"appId"`
	ClientPrivateKey  string `json:"clientPrivateKey"`  // path, PKCS#8 PEM
	ClientPublicKey   string `json:"clientPublicKey"`   // path, SPKI PEM
	PlatformPublicKey string `json:"platformPublicKey"` // path, SPKI PEM
	SFTPPrivateKey    string `json:"sftpPrivateKey"`    // path, OpenSSH format
	SFTPHostKey       string `json:"sftpHostKey"`       // path, public, OpenSSH format
	AdminToken        string `json:"adminToken"`
}

// SandboxConfig says what is special about a sandbox.
type SandboxConfig struct {
	Config                      // Sandbox and AdminTokens are set by StartSandbox
	AppID       string          // default "demo"
	Settings    store.Settings  // of the app, when it is made
	PlatformKey *rsa.PrivateKey // of the app, when it is made; nil: a fresh one
	ClientKey   *rsa.PrivateKey // the app's own, when the data folder has none; nil: a fresh one
}

// Sandbox is a running server with one app, and what acts as that app, its seller and its operator.
type Sandbox struct {
	*Server
	File   SandboxFile
	Admin  *admin.Client
	Client *infinia.Client

	ClientKey   *rsa.PrivateKey
	PlatformKey *rsa.PublicKey
	sftpKey     ssh.Signer
	filePath    string
}

// StartSandbox starts a sandbox over the data folder. Keys, token and app are made at the first start and kept there.
func StartSandbox(ctx context.Context, cfg SandboxConfig) (_ *Sandbox, err error) {
	if cfg.AppID == "" {
		cfg.AppID = "demo"
	}
	if cfg.KeyBits == 0 {
		cfg.KeyBits = 4096
	}
	if cfg.Data, err = filepath.Abs(cfg.Data); err != nil { // a client of sandbox.json may run anywhere
		return nil, err
	}
	keysDir := filepath.Join(cfg.Data, "keys")
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, err
	}
	s := &Sandbox{filePath: filepath.Join(cfg.Data, "sandbox.json")}
	release, err := store.Lock(filepath.Join(cfg.Data, databaseName))
	if err != nil { // or the file is a running sandbox's
		return nil, fmt.Errorf("%s: %w", cfg.Data, err)
	}
	if err := release(); err != nil { // Start takes it
		return nil, err
	}
	if err := os.Remove(s.filePath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.File = SandboxFile{
		AppID:             cfg.AppID,
		ClientPrivateKey:  filepath.Join(keysDir, "client_private.pem"),
		ClientPublicKey:   filepath.Join(keysDir, "client_public.pem"),
		PlatformPublicKey: filepath.Join(keysDir, "platform_public.pem"),
		SFTPPrivateKey:    filepath.Join(keysDir, "sftp_key"),
		SFTPHostKey:       filepath.Join(keysDir, "sftp_host_key.pub"),
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, databaseName)); err == nil {
		if _, err := os.Stat(filepath.Join(keysDir, "admin_token")); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s holds a database, but no sandbox's keys: it is not a sandbox's folder", cfg.Data)
		}
	}
	if err := os.MkdirAll(keysDir, 0o700); err != nil {
		return nil, err
	}
	token, err := keptFile(filepath.Join(keysDir, "admin_token"), func() ([]byte, error) { return []byte(rand.Text()), nil })
	if err != nil {
		return nil, err
	}
	s.File.AdminToken = string(token)
	if err := s.clientKey(cfg); err != nil {
		return nil, err
	}
	if err := s.loginKey(); err != nil {
		return nil, err
	}
	cfg.Sandbox, cfg.AdminTokens = true, map[string]string{"sandbox": s.File.AdminToken}
	if s.Server, err = Start(ctx, cfg.Config); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Server.Close(ctx))
		}
	}()
	s.File.API, s.File.Admin, s.File.Console, s.File.SFTP = s.URL+"/api", s.URL+"/admin/v1", s.URL+"/", s.Server.SFTP
	s.Admin = admin.NewClient(s.File.Admin, s.File.AdminToken, nil)
	if err := s.app(ctx, cfg); err != nil {
		return nil, err
	}
	if s.Client, err = infinia.NewClient(cfg.AppID, s.ClientKey, []*rsa.PublicKey{s.PlatformKey}, infinia.WithBaseURL(s.File.API)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.File.SFTPHostKey, ssh.MarshalAuthorizedKey(s.HostKey), 0o600); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(s.File, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := replaceFile(s.filePath, append(text, '\n')); err != nil {
		return nil, err
	}
	s.making.Store(false)
	return s, nil
}

// Close takes sandbox.json away, then stops the server.
func (s *Sandbox) Close(ctx context.Context) error {
	err := os.Remove(s.filePath)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.Server.Close(ctx))
}

// clientKey reads the app's own key, or makes it.
func (s *Sandbox) clientKey(cfg SandboxConfig) error {
	text, err := keptFile(s.File.ClientPrivateKey, func() ([]byte, error) {
		key := cfg.ClientKey
		if key == nil {
			var err error
			if key, err = rsa.GenerateKey(rand.Reader, cfg.KeyBits); err != nil {
				return nil, err
			}
		}
		return envelope.MarshalPrivateKey(key), nil
	})
	if err != nil {
		return err
	}
	if s.ClientKey, err = envelope.ParsePrivateKey(text); err != nil {
		return fmt.Errorf("%s: %w", s.File.ClientPrivateKey, err)
	}
	return os.WriteFile(s.File.ClientPublicKey, envelope.MarshalPublicKey(&s.ClientKey.PublicKey), 0o600)
}

// loginKey reads the app's SFTP key, or makes it.
func (s *Sandbox) loginKey() error {
	text, err := keptFile(s.File.SFTPPrivateKey, func() ([]byte, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		block, err := ssh.MarshalPrivateKey(key, "sandbox")
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(block), nil
	})
	if err != nil {
		return err
	}
	if s.sftpKey, err = ssh.ParsePrivateKey(text); err != nil {
		return fmt.Errorf("%s: %w", s.File.SFTPPrivateKey, err)
	}
	return nil
}

// app makes the app with its keys, over the same API as any operator; at a later start there is nothing to do.
func (s *Sandbox) app(ctx context.Context, cfg SandboxConfig) error {
	act := func(what string) admin.Act {
		return admin.Act{Reference: "sandbox-" + what + "-" + cfg.AppID, Reason: "set up the sandbox"}
	}
	if _, err := s.Admin.App(ctx, cfg.AppID); isStatus(err, http.StatusNotFound) {
		n := admin.NewApp{Act: act("app"), AppID: cfg.AppID, Name: "Demo Marketplace", Settings: cfg.Settings}
		if cfg.PlatformKey != nil {
			n.PlatformPrivateKey = string(envelope.MarshalPrivateKey(cfg.PlatformKey))
		}
		if _, err := s.Admin.AddApp(ctx, n); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if _, err := s.Admin.AddKey(ctx, cfg.AppID, admin.NewKey{Act: act("client-key"), Owner: store.ClientKey,
		PublicKey: string(envelope.MarshalPublicKey(&s.ClientKey.PublicKey))}); err != nil {
		return fmt.Errorf("register the client key: %w", err)
	}
	if _, err := s.Admin.AddKey(ctx, cfg.AppID, admin.NewKey{Act: act("sftp-key"), Owner: store.SFTPKey,
		PublicKey: string(ssh.MarshalAuthorizedKey(s.sftpKey.PublicKey()))}); err != nil {
		return fmt.Errorf("register the SFTP key: %w", err)
	}
	keys, err := s.Admin.Keys(ctx, cfg.AppID)
	if err != nil {
		return err
	}
	for _, k := range keys.Items {
		if k.Owner == store.PlatformKey && k.RetiredAt.IsZero() {
			if s.PlatformKey, err = envelope.ParsePublicKey([]byte(k.PublicKey)); err != nil {
				return err
			}
			return os.WriteFile(s.File.PlatformPublicKey, envelope.MarshalPublicKey(s.PlatformKey), 0o600)
		}
	}
	return errors.New("the app has no valid platform key")
}

func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*admin.Error](err)
	return ok && e.Status == status
}

// Upload writes a file by SFTP under a temporary name and renames it, which makes it complete at once.
func (s *Sandbox) Upload(ctx context.Context, name string, content []byte) error {
	client, hangUp, err := s.DialSFTP(ctx)
	if err != nil {
		return err
	}
	defer hangUp()
	part := "/upload/" + name + ".part"
	f, err := client.Create(part)
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(fmt.Errorf("upload %s: %w", name, err), f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	if err := client.PosixRename(part, "/upload/"+name); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

// DialSFTP logs in as the app; hangUp ends the connection.
func (s *Sandbox) DialSFTP(context.Context) (client *sftp.Client, hangUp func(), err error) {
	conn, err := ssh.Dial("tcp", s.File.SFTP, &ssh.ClientConfig{User: s.File.AppID, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.sftpKey)},
		HostKeyCallback: ssh.FixedHostKey(s.HostKey)})
	if err != nil {
		return nil, nil, fmt.Errorf("SFTP: %w", err)
	}
	if client, err = sftp.NewClient(conn); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("SFTP: %w", err), conn.Close())
	}
	return client, func() {
		client.Close()
		conn.Close() // the client leaves it open
	}, nil
}

var pageField = regexp.MustCompile(`name="page" value="([^"]+)"`)

// AnswerBinding acts as the seller: it opens the link's page and posts its form with action confirm or decline.
func (s *Sandbox) AnswerBinding(ctx context.Context, link, action string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page, err := fetchPage(ctx, browser, http.MethodGet, link, nil)
	if err != nil {
		return err
	}
	field := pageField.FindStringSubmatch(page)
	if field == nil {
		return errors.New("the page behind the link has no form")
	}
	_, err = fetchPage(ctx, browser, http.MethodPost, link, url.Values{"page": {field[1]}, "action": {action}, "agree": {"yes"}})
	return err
}

func fetchPage(ctx context.Context, browser *http.Client, method, link string, form url.Values) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, link, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := browser.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return "", fmt.Errorf("the binding page answered %s", resp.Status)
	}
	return string(body), nil
}

// restoreClock moves a sandbox's clock to where it stood: over one database, time never goes back.
func restoreClock(clock *store.Clock, path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	offset, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	clock.Advance(offset)
	return nil
}

// keptFile reads a file that only its owner may read, or makes it.
func keptFile(path string, make func() ([]byte, error)) ([]byte, error) {
	text, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if text, err = make(); err != nil {
		return nil, err
	}
	return text, replaceFile(path, text)
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, text []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
