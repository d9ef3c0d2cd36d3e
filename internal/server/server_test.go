package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

func TestHealthReadinessAndMetrics(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		equal(t, "healthz", r.fetch(r.URL+"/healthz", ""), "ok\n")
		equal(t, "readyz", r.fetch(r.URL+"/readyz", ""), "ready\n")
		for range 2 {
			equal(t, "balance", r.balance(), "0.00 0.00")
		}
		r.wantShare("RSR-1", "1.00", "", "BIZ-003 sellerId")
		if err := r.Upload(t.Context(), "TDU-1.csv", []byte("sellerId\n")); err != nil {
			t.Error(err)
		}
		var metrics string
		storetest.Until(t, "the upload's work is done", func() bool {
			metrics = r.fetch(r.URL+"/metrics", r.File.AdminToken)
			return strings.Contains(metrics, "infinia_units_waiting 0\n")
		})
		for _, want := range []string{
			`infinia_calls_total{code="SUC-200",operation="account-balance/query"} 2`,
			`infinia_calls_total{code="BIZ-003",operation="revenue-sharing/request"} 1`,
			`infinia_call_seconds_count{operation="account-balance/query"} 2`,
			`infinia_calls_not_recorded_total 0`,
			"infinia_ready 1", "infinia_outbox_late_seconds 0", "infinia_groups_failed_total 0", "infinia_groups_unknown_total 0",
			`infinia_sftp_logins_total{outcome="accepted"} 1`, "infinia_sftp_bars_total 0",
			"infinia_units_total ", "infinia_groups_total ", "infinia_writer_busy_seconds_total ", "go_goroutines ", "process_cpu_seconds_total ",
		} {
			if !strings.Contains(metrics, want) {
				t.Errorf("no %s in\n%s", want, metrics)
			}
		}
	})
}

func TestNotReadyWhenTheDatabaseFails(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		r.breakTable("secret")
		status, content := fetchStatus(t, r.URL+"/readyz", "")
		equal(t, "status", status, http.StatusServiceUnavailable)
		equal(t, "content", content, "the database does not answer\n")
		equal(t, "healthz", r.fetch(r.URL+"/healthz", ""), "ok\n")
	})
}

// breakTable makes every use of a table fail, from outside the server.
func (r *rig) breakTable(table string) {
	r.t.Helper()
	engine, database := storetest.Postgres, r.database
	if database == "" {
		engine, database = storetest.SQLite, filepath.Join(r.dir, databaseName)
	}
	engine.Exec(r.t, database, "ALTER TABLE "+table+" RENAME TO broken_"+table)
}

// seal is the body of a request as a client sends it.
func seal(t testing.TB, appID, plain string, to *rsa.PublicKey, by *rsa.PrivateKey) []byte {
	t.Helper()
	data := must(envelope.Encrypt([]byte(plain), to, envelope.FullBlock))(t)
	signature := must(envelope.Sign(data, by))(t)
	return must(json.Marshal(envelope.Request{Version: "1.0", AppID: appID, DataType: "JSON", RequestData: data, Signature: signature}))(t)
}

func TestStopAnswersCallsUnderWay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		cfg := testConfig(t, engine, store.Settings{})
		r := startConfig(t, cfg)
		r.fund("100.00", "100.00")
		body := seal(t, "demo", `{"requestNo":"RSR-1","sellerId":"SELLER-1","currency":"CNH","amount":"1.00"}`, r.PlatformKey, r.ClientKey)

		// The server says Continue when the call's handler begins to read.
		underWay := make(chan struct{})
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(underWay) }})
		content, feed := io.Pipe()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.File.API+infinia.OpRevenueSharing.Path(), content)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = int64(len(body))
		req.Header.Set("Expect", "100-continue")
		answered := make(chan []byte, 1)
		go func() {
			defer close(answered)
			client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Error(err)
			}
			answered <- answer
		}()
		<-underWay
		stopped := make(chan error, 1)
		go func() { stopped <- r.Close(context.Background()) }()
		storetest.Until(t, "the end of new connections", func() bool {
			c, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		select {
		case err := <-stopped:
			t.Fatalf("it stopped before the answer: %v", err)
		default:
		}
		if _, err := feed.Write(body); err != nil {
			t.Fatal(err)
		}
		feed.Close()
		env := must(envelope.ParseResponse(<-answered))(t)
		equal(t, "code", env.Code, "SUC-200")
		if err := <-stopped; err != nil {
			t.Error(err)
		}

		r = startConfig(t, cfg)
		equal(t, "status", r.ended("RSR-1").Status, infinia.ShareSuccess)
		r.verify()
	})
}

func TestSandboxFileIsThereWhileReady(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		cfg := testConfig(t, engine, store.Settings{})
		path := filepath.Join(cfg.Data, "sandbox.json")
		there := func() bool { _, err := os.Stat(path); return err == nil }
		if err := os.WriteFile(path, []byte("left by one that was killed"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused := cfg
		refused.HTTP = "nowhere:-1"
		if _, err := StartSandbox(t.Context(), refused); err == nil || there() {
			t.Errorf("a start that failed: %v; sandbox.json is there: %v", err, there())
		}

		first := startConfig(t, cfg)
		var file SandboxFile
		if err := json.Unmarshal(must(os.ReadFile(path))(t), &file); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(file, first.File) {
			t.Errorf("sandbox.json says %+v, want %+v", file, first.File)
		}
		for _, path := range []string{path, file.ClientPrivateKey, file.SFTPPrivateKey} {
			info := must(os.Stat(path))(t)
			equal(t, "mode of "+path, info.Mode().Perm(), 0o600)
		}
		equal(t, "readyz", first.fetch(first.URL+"/readyz", ""), "ready\n")
		first.stop()
		if there() {
			t.Error("sandbox.json is left after the stop")
		}

		second := startConfig(t, cfg)
		equal(t, "token", second.File.AdminToken, first.File.AdminToken)
		equal(t, "client key", envelope.Fingerprint(&second.ClientKey.PublicKey), envelope.Fingerprint(&first.ClientKey.PublicKey))
		equal(t, "platform key", envelope.Fingerprint(second.PlatformKey), envelope.Fingerprint(first.PlatformKey))
		equal(t, "balance", second.balance(), "0.00 0.00")
	})
}

// TestSandboxIsReadyOnceItIsMade: whoever waits for /readyz finds the app, its keys and the file that names them.
func TestSandboxIsReadyOnceItIsMade(t *testing.T) {
	t.Parallel()
	half := testConfig(t, storetest.SQLite, store.Settings{}).Config
	half.Sandbox, half.AdminTokens = true, map[string]string{"sandbox": strings.Repeat("x", 16)}
	s := must(Start(t.Context(), half))(t) // what StartSandbox does before it makes the app
	status, content := fetchStatus(t, s.URL+"/readyz", "")
	equal(t, "status of a half made one", status, http.StatusServiceUnavailable)
	equal(t, "what it says", content, "the sandbox is being made\n")
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := startConfig(t, testConfig(t, storetest.SQLite, store.Settings{}))
	equal(t, "made", r.fetch(r.URL+"/readyz", ""), "ready\n")
}

func TestSandboxStartsAgainAfterAReset(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		cfg := testConfig(t, engine, store.Settings{})
		r := startConfig(t, cfg)
		r.fund("100.00", "100.00")
		r.settled()
		client, hangUp, err := r.DialSFTP(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer hangUp()
		reading := must(client.Open("/result/TDU-fund_summary.json"))(t)
		must(r.Admin.ResetSandbox(t.Context()))(t)
		equal(t, "balance", r.balance(), "0.00 0.00")
		equal(t, "number of results", len(must(client.ReadDir("/result"))(t)), 0)
		if _, err := reading.Read(make([]byte, 10)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("reading what the reset has removed: %v", err)
		}
		r.stop()
		r = startConfig(t, cfg)
		r.fund("100.00", "100.00")
		r.verify()
	})
}

func TestDatabaseOfTheOtherKindIsRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		sandbox, production := testConfig(t, engine, store.Settings{}), productionConfig(t, engine)
		startConfig(t, sandbox).stop()
		s := must(Start(t.Context(), production))(t)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		sandbox.Data, production.Data = production.Data, sandbox.Data
		sandbox.Database, production.Database = production.Database, sandbox.Database
		if _, err := Start(t.Context(), production); err == nil || !strings.Contains(err.Error(), "database of a sandbox") {
			t.Errorf("production over a sandbox's database: %v", err)
		}
		if engine == storetest.SQLite { // the file shows whose folder it is
			if _, err := StartSandbox(t.Context(), sandbox); err == nil || !strings.Contains(err.Error(), "not a sandbox's folder") {
				t.Errorf("a sandbox over production's folder: %v", err)
			}
			if _, err := os.Stat(filepath.Join(sandbox.Data, "keys")); err == nil {
				t.Error("a sandbox's keys were made in production's folder")
			}
			if err := os.MkdirAll(filepath.Join(sandbox.Data, "keys"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(sandbox.Data, "keys", "admin_token"), []byte("a token of a sandbox"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := StartSandbox(t.Context(), sandbox); err == nil || !strings.Contains(err.Error(), "database of a production") {
			t.Errorf("a sandbox over production's database: %v", err)
		}
		sandbox.Data, sandbox.Database = production.Data, production.Database
		startConfig(t, sandbox) // it is unharmed
	})
}

// productionConfig has TLS by a certificate for infinia.example.
func productionConfig(t *testing.T, engine storetest.Engine) Config {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"infinia.example"}, NotAfter: time.Now().Add(time.Hour)}
	cert := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))(t)
	private := must(x509.MarshalPKCS8PrivateKey(key))(t)
	dir := t.TempDir()
	cfg := Config{Data: filepath.Join(dir, "data"), Database: databaseOf(t, engine), HTTP: "127.0.0.1:0", SFTP: "127.0.0.1:0", PublicURL: "https://infinia.example",
		AdminTokens: map[string]string{"olga": "token-of-operator-olga"}, TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem"),
		CallsPerSecond: 1e6, Log: testLog(t)}
	for path, block := range map[string]*pem.Block{cfg.TLSCert: {Type: "CERTIFICATE", Bytes: cert}, cfg.TLSKey: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// browserOf reaches a production server under its public name and trusts its certificate.
func browserOf(t *testing.T, s *Server, cfg Config) *http.Transport {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(must(os.ReadFile(cfg.TLSCert))(t)) {
		t.Fatal("no certificate")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(s.URL, "https://"))
		}}
}

func TestTLSByFiles(t *testing.T) {
	t.Parallel()
	cfg := productionConfig(t, storetest.SQLite)
	s := must(Start(t.Context(), cfg))(t)
	defer s.Close(t.Context()) //nolint:errcheck // tested elsewhere
	transport := browserOf(t, s, cfg)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://infinia.example/readyz") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	equal(t, "status", resp.StatusCode, http.StatusOK)
	equal(t, "protocol", resp.Proto, "HTTP/2.0")

	old := &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, ServerName: "infinia.example", MaxVersion: tls.VersionTLS11}
	if _, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), old); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		taken := must(net.Listen("tcp", "127.0.0.1:0"))(t)
		defer taken.Close()
		good := productionConfig(t, engine)
		for want, change := range map[string]func(*Config){
			"data folder":           func(c *Config) { c.Data = "" },
			"at least one operator": func(c *Config) { c.AdminTokens = nil },
			"operator ivan":         func(c *Config) { c.AdminTokens = map[string]string{"ivan": "short"} },
			"public URL with https": func(c *Config) { c.PublicURL = "http://infinia.example" },
			"public URL":            func(c *Config) { c.PublicURL = "" },
			"both a certificate":    func(c *Config) { c.TLSKey = "" },
			"TLS: ":                 func(c *Config) { c.TLSCert = c.TLSKey },
			"HTTP: ":                func(c *Config) { c.HTTP = taken.Addr().String() },
			"SFTP: ":                func(c *Config) { c.SFTP = taken.Addr().String() },
		} {
			cfg := good
			change(&cfg)
			if s, err := Start(t.Context(), cfg); err == nil {
				t.Errorf("%s: it was accepted", want)
				s.Close(t.Context()) //nolint:errcheck // it should not be there
			} else if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
		s := must(Start(t.Context(), good))(t) // nothing of the failed starts is left
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("closed twice: %v", err)
		}
	})
}
