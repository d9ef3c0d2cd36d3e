package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/server"
	"github.com/openinfinia/infinia/internal/store"
)

// serveCmd runs the system in production until it is told to stop.
type serveCmd struct {
	Data        string            `required:"" placeholder:"FOLDER" help:"Folder of the database, the files and the SFTP host key."`
	DB          string            `name:"db" placeholder:"URL" help:"postgres:// URL of the database, which other nodes may share; all its servers, postgres://db1,db2/infinia, where a standby may take over. Default: an SQLite file in the data folder."`
	HTTP        string            `name:"http" default:":8443" help:"Address to listen on."`
	SFTP        string            `name:"sftp" default:":2022" help:"Address of SFTP."`
	PublicURL   string            `name:"public-url" required:"" placeholder:"URL" help:"Where sellers' browsers reach this server, with https."`
	Operators   string            `required:"" type:"existingfile" placeholder:"FILE" help:"File with a line for each operator: name, white space, token of at least 16 characters. Only its owner may read it."`
	TLSCert     string            `name:"tls-cert" placeholder:"FILE" help:"Certificate chain, PEM. Without it a proxy in front must end TLS."`
	TLSKey      string            `name:"tls-key" placeholder:"FILE" help:"Its key, PEM."`
	BehindProxy bool              `help:"The caller's address is the last one in X-Forwarded-For."`
	WebhookNets []string          `name:"webhook-net" placeholder:"RANGE" help:"Private range, such as 10.1.0.0/16, where webhooks may go nevertheless. May be repeated."`
	Paths       map[string]string `name:"path" placeholder:"NAME=PATH" help:"Another path for an operation, such as account-balance/query=/v1/balance. May be repeated."`
	UploadName  string            `name:"upload-name" placeholder:"REGEXP" help:"Names of uploaded files, the first group being the requestNo; default <requestNo>.csv."`
	ErrorLink   time.Duration     `name:"error-link" default:"24h" help:"How long a link to an error file opens it."`
	RequestData int               `name:"request-data" default:"65536" help:"Most characters of requestData."`
	CallRate    float64           `name:"call-rate" default:"200" help:"Most calls a second from one address."`
	contentKeys
	sftpLogins
	lostLog
}

// contentKeys encrypt what is kept of files.
type contentKeys struct {
	ContentKeyFile string `type:"existingfile" placeholder:"FILE" help:"File with a line for each key that kept files are encrypted under: 32 bytes in hex or base64, as openssl rand -hex 32 prints them. The first writes, all read. Only its owner may read it. The same on every node."`
}

func (c contentKeys) set(cfg *server.Config) (err error) {
	if c.ContentKeyFile == "" {
		return nil
	}
	f, err := openSecret(c.ContentKeyFile)
	if err != nil {
		return err
	}
	defer f.Close()
	if cfg.ContentKeys, err = content.ParseKeys(f); err != nil {
		err = fmt.Errorf("%s: %w", c.ContentKeyFile, err)
	}
	return err
}

// sftpLogins are for SFTP clients that cannot do better, and against those who guess.
type sftpLogins struct {
	OldAlgorithms bool `name:"sftp-old-algorithms" help:"Let in SFTP clients that know only older algorithms: an RSA host key, ssh-rsa signatures, diffie-hellman-group14-sha1, aes128-cbc, hmac-sha1."`
	WrongKeys     int  `name:"sftp-wrong-keys" default:"100" help:"After so many wrong SFTP keys an address is barred for 10 minutes; 0 bars none, for a balancer in front that hides the address."`
}

func (l sftpLogins) set(cfg *server.Config) {
	cfg.SFTPOldAlgorithms, cfg.SFTPWrongKeys = l.OldAlgorithms, l.WrongKeys
	if l.WrongKeys <= 0 {
		cfg.SFTPWrongKeys = -1
	}
}

// lostLog is for the one start after a database file has lost its log.
type lostLog struct {
	AcceptLostLog bool `env:"-" help:"Start over an SQLite file whose write-ahead log is lost: the commits that were in it are gone. For this one start."`
}

// hint tells of it where it matters.
func (lostLog) hint(err error) error {
	if errors.Is(err, store.ErrLogMissing) {
		return hinted{err, "--accept-lost-log starts without those commits; sqlite3 also leaves a file like this, with nothing lost, when it opens one after a crash, and by its .backup"}
	}
	return err
}

func (c serveCmd) Run(ctx context.Context, con console) error {
	cfg := server.Config{Data: c.Data, Database: c.DB, HTTP: c.HTTP, SFTP: c.SFTP, PublicURL: c.PublicURL, TLSCert: c.TLSCert, TLSKey: c.TLSKey,
		BehindProxy: c.BehindProxy, Paths: map[infinia.Operation]string{}, ErrorLinkValid: c.ErrorLink, RequestDataMost: c.RequestData,
		CallsPerSecond: c.CallRate, AcceptLostLog: c.AcceptLostLog, Log: slog.New(slog.NewJSONHandler(con.err, nil))}
	if c.TLSCert == "" && !c.BehindProxy {
		return fmt.Errorf("TLS is required: give --tls-cert and --tls-key, or --behind-proxy when a proxy in front ends it")
	}
	for _, text := range c.WebhookNets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("--webhook-net: %w", err)
		}
		cfg.WebhookNets = append(cfg.WebhookNets, p)
	}
	for name, path := range c.Paths {
		if !op.Known(name) || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{} ") {
			return fmt.Errorf("--path %s=%s: want an operation and a path that begins with /", name, path)
		}
		cfg.Paths[infinia.Operation(name)] = path
	}
	used := map[string]bool{}
	for _, o := range op.All {
		path := cmp.Or(cfg.Paths[o.Name], o.Name.Path())
		if used[path] {
			return fmt.Errorf("--path: two operations have the path %s", path)
		}
		used[path] = true
	}
	c.sftpLogins.set(&cfg)
	err := c.contentKeys.set(&cfg)
	if err != nil {
		return err
	}
	if c.UploadName != "" {
		if cfg.UploadName, err = regexp.Compile(c.UploadName); err != nil {
			return fmt.Errorf("--upload-name: %w", err)
		}
		if cfg.UploadName.NumSubexp() == 0 {
			return errors.New("--upload-name: want a group for the requestNo, such as ^trades_(.+)\\.csv$")
		}
	}
	if cfg.AdminTokens, err = readOperators(c.Operators); err != nil {
		return err
	}
	s, err := server.Start(ctx, cfg)
	if err != nil {
		return c.hint(err)
	}
	signal.Ignore(syscall.SIGHUP) // a terminal that goes away is no reason to stop
	cfg.Log.Info("ready", "http", s.URL, "sftp", s.SFTP, "sftpHostKeys", s.HostKeys, "publicURL", c.PublicURL)
	<-ctx.Done()
	cfg.Log.Info("stopping")
	return s.Close(context.WithoutCancel(ctx))
}

// openSecret opens a file that only its owner may read.
func openSecret(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s holds secrets, and others may read it: chmod 600 it", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readOperators reads names and tokens.
func readOperators(path string) (map[string]string, error) {
	f, err := openSecret(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tokens := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 || tokens[fields[0]] != "" {
			return nil, fmt.Errorf("%s, line %d: want a name, used once, and a token", path, n)
		}
		tokens[fields[0]] = fields[1]
	}
	return tokens, lines.Err()
}

func host(address string) string { h, _, _ := net.SplitHostPort(address); return h }
func port(address string) string { _, p, _ := net.SplitHostPort(address); return p }
