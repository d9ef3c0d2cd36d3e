package server

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// logged collects what is logged, in both forms in which the commands print it.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Values that are sent and must not be found in a log.
const (
	secretCert    = "CERT-91310108"
	secretName    = "Umbrella Trading"
	secretNote    = "note-for-nobody-else"
	secretBuyer   = "Buyer Without Name"
	secretProduct = "Lamp Of Aladdin"
	secretAmount  = "1234.56"
)

// secrets are those values and what the run of a chain adds to them: tokens, links, keys.
type secrets map[string]string

// addKey takes the second line of a private key; the first begins as in all other keys.
func (s secrets) addKey(what string, private []byte) {
	s[what] = strings.Split(string(private), "\n")[2]
}

func (s secrets) addRSA(t testing.TB, what string, key *rsa.PrivateKey) {
	t.Helper()
	s.addKey(what, envelope.MarshalPrivateKey(key))
	s[what+" as a number"] = key.D.String()
}

func (s secrets) check(t testing.TB, where, text string) {
	t.Helper()
	for what, secret := range s {
		if secret == "" {
			t.Errorf("the %s was never there", what)
		} else if strings.Contains(text, secret) {
			at := strings.Index(text, secret)
			t.Errorf("%s holds the %s: %s", where, what, text[max(0, at-200):min(len(text), at+len(secret)+50)])
		}
	}
}

// TestSecretsAreNotLogged is not parallel, because it also catches what goes to the standard loggers.
func TestSecretsAreNotLogged(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		for _, name := range []string{"sandbox", "production"} {
			t.Run(name, func(t *testing.T) {
				log, all := &logged{}, &slog.HandlerOptions{Level: slog.LevelDebug}
				logger := slog.New(slog.NewMultiHandler(slog.NewTextHandler(log, all), slog.NewJSONHandler(log, all)))
				standard := slog.Default()
				slog.SetDefault(logger)
				defer slog.SetDefault(standard)

				var r *rig
				browser := http.DefaultTransport
				if name == "sandbox" {
					cfg := testConfig(t, engine, store.Settings{})
					cfg.Log = logger
					r = startConfig(t, cfg)
				} else {
					r, browser = startProduction(t, engine, logger)
				}
				s := r.chain(browser)
				r.stop()
				for _, want := range []string{"sftp connected", "upload complete", "call failed", "page failed"} {
					if !strings.Contains(log.String(), want) {
						t.Errorf("%q was not logged, so that its secrets were not tried", want)
					}
				}
				s.check(t, "the log", log.String())
				if name == "production" {
					r.checkFiles(s)
				}
			})
		}
	})
}

// startProduction makes the server, the app and its keys as an operator would.
func startProduction(t *testing.T, engine storetest.Engine, log *slog.Logger) (*rig, http.RoundTripper) {
	t.Helper()
	cfg := productionConfig(t, engine)
	cfg.Log, cfg.WebhookNets = log, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	srv := must(Start(t.Context(), cfg))(t)
	browser := browserOf(t, srv, cfg)
	client := &http.Client{Transport: browser}
	r := &rig{t: t, dir: cfg.Data, database: cfg.Database, Sandbox: &Sandbox{Server: srv, ClientKey: testKey(t, "client-2048"),
		PlatformKey: &testKey(t, "platform-2048").PublicKey, filePath: filepath.Join(cfg.Data, "none")}}
	t.Cleanup(r.stop)
	t.Cleanup(browser.CloseIdleConnections)
	keys := t.TempDir()
	r.File = SandboxFile{AppID: "demo", API: cfg.PublicURL + "/api", Admin: cfg.PublicURL + "/admin/v1", SFTP: srv.SFTP,
		AdminToken: cfg.AdminTokens["olga"], SFTPPrivateKey: filepath.Join(keys, "sftp_key")}
	if err := r.loginKey(); err != nil {
		t.Fatal(err)
	}
	r.Admin = admin.NewClient(r.File.Admin, r.File.AdminToken, client)
	r.Client = must(infinia.NewClient("demo", r.ClientKey, []*rsa.PublicKey{r.PlatformKey}, infinia.WithBaseURL(r.File.API), infinia.WithHTTPClient(client)))(t)
	must(r.Admin.AddApp(t.Context(), admin.NewApp{Act: r.act(), AppID: "demo", Name: "Demo", Settings: store.Settings{AutoApprove: true},
		PlatformPrivateKey: string(envelope.MarshalPrivateKey(testKey(t, "platform-2048")))}))(t)
	for owner, key := range map[string][]byte{store.ClientKey: envelope.MarshalPublicKey(&r.ClientKey.PublicKey),
		store.SFTPKey: ssh.MarshalAuthorizedKey(r.sftpKey.PublicKey())} {
		must(r.Admin.AddKey(t.Context(), "demo", admin.NewKey{Act: r.act(), Owner: owner, PublicKey: string(key)}))(t)
	}
	return r, browser
}

// chain does all that the system is for, and much that goes wrong, with the secrets that it returns.
func (r *rig) chain(transport http.RoundTripper) secrets {
	t := r.t
	t.Helper()
	s := secrets{"certificate number": secretCert, "seller's name": secretName, "note": secretNote, "buyer": secretBuyer, "product": secretProduct,
		"amount": secretAmount, "admin token": r.File.AdminToken}
	s.addRSA(t, "client key", r.ClientKey)
	s.addRSA(t, "platform key", testKey(t, "platform-2048"))
	s.addKey("SFTP key", must(os.ReadFile(r.File.SFTPPrivateKey))(t))
	s.addKey("SFTP host key", must(os.ReadFile(filepath.Join(r.dir, "sftp_host_key")))(t))
	browser := &http.Client{Jar: must(cookiejar.New(nil))(t), Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	link := r.bindInSecret(s, browser)
	r.fileInSecret(s, browser)
	r.shareInSecret()
	r.misuse(browser)
	r.faults(browser, link)
	return s
}

var (
	secretBinding = infinia.AccountBindingRequest{RequestNo: "ABR-1", SellerID: seller, SellerCertNo: secretCert, SellerName: secretName, StoreName: "Acme",
		StoreURL: "https://store.example.com", EntityType: "Corporate", Country: "CHN", Currency: currency, Note: secretNote}
	secretShare = infinia.RevenueSharingRequest{RequestNo: "RSR-1", SellerID: seller, Currency: currency, Amount: secretAmount, Note: secretNote}
)

func (r *rig) bindInSecret(s secrets, browser *http.Client) (link string) {
	t, ctx := r.t, r.t.Context()
	link = must(r.Client.AccountBinding(ctx, secretBinding))(t).RedirectURL
	s["token of the link"] = path.Base(link)
	page := must(fetchPage(ctx, browser, http.MethodGet, link, nil))(t)
	field := pageField.FindStringSubmatch(page)
	if field == nil {
		t.Fatalf("no form in %s", page)
	}
	s["field of the page"] = field[1]
	for _, answer := range []url.Values{{"page": {"forged"}, "action": {"confirm"}, "agree": {"yes"}}, {"page": {field[1]}, "action": {"what"}}} {
		if _, err := fetchPage(ctx, browser, http.MethodPost, link, answer); err == nil {
			t.Error("a wrong answer was taken")
		}
	}
	must(fetchPage(ctx, browser, http.MethodPost, link, url.Values{"page": {field[1]}, "action": {"confirm"}, "agree": {"yes"}}))(t)
	if _, err := fetchPage(ctx, browser, http.MethodGet, link+"x", nil); err == nil {
		t.Error("a wrong link opened")
	}
	return link
}

func (r *rig) fileInSecret(s secrets, browser *http.Client) {
	t, ctx := r.t, r.t.Context()
	row := strings.NewReplacer("Lamp", secretProduct, "acme,,", "acme,"+secretBuyer+",").Replace(sale(seller, "ORDER-1", "9999.00"))
	failed := r.file("TDU-1", strings.Replace(row, "USA", "XXX", 1))
	equal(t, "status", failed.Status, infinia.FileFailed)
	s["token of the error file"] = path.Base(failed.ErrorFileURL)
	if content := must(fetchPage(ctx, browser, http.MethodGet, failed.ErrorFileURL, nil))(t); !strings.Contains(content, secretBuyer) {
		t.Errorf("the error file is %s", content)
	}
	if _, err := fetchPage(ctx, browser, http.MethodGet, failed.ErrorFileURL+"x", nil); err == nil {
		t.Error("a wrong link opened")
	}
	equal(t, "status", r.file("TDU-2", row).Status, infinia.FileSuccess)
}

// shareInSecret also freezes the seller, of which a webhook tells an endpoint that is not there.
func (r *rig) shareInSecret() {
	t, ctx := r.t, r.t.Context()
	set := must(r.Admin.App(ctx, "demo"))(t).Settings
	set.CallbackURL = "https://127.0.0.1:1/callback"
	must(r.Admin.SetSettings(ctx, "demo", admin.NewSettings{Act: r.act(), Settings: set}))(t)
	r.deposit("5000.00")
	must(r.Client.RevenueSharing(ctx, secretShare))(t)
	equal(t, "share", r.ended("RSR-1").Status, infinia.ShareSuccess)
	must(r.Admin.FreezeSeller(ctx, "demo", admin.SellerAct{Act: r.act(), SellerID: seller}))(t)
	refused := secretShare
	refused.RequestNo = "RSR-2"
	if _, err := r.Client.RevenueSharing(ctx, refused); code(t, err) != "BIZ-004 sellerId" {
		t.Errorf("frozen: %v", err)
	}
	storetest.Until(t, "the webhook's first try", func() bool {
		d := must(r.Admin.Deliveries(ctx, admin.DeliveriesFilter{}))(t)
		return len(d.Items) == 1 && d.Items[0].Attempts == 1
	})
	r.verify()
}

// faults takes tables away: faults of the server itself are logged with their cause.
func (r *rig) faults(browser *http.Client, link string) {
	t, ctx := r.t, r.t.Context()
	r.breakTable("request")
	r.breakTable("binding")
	r.breakTable("share")
	bind, share := secretBinding, secretShare
	bind.RequestNo, share.RequestNo = "ABR-3", "RSR-3"
	for _, err := range []error{second(r.Client.AccountBinding(ctx, bind)), second(r.Client.RevenueSharing(ctx, share))} {
		if c := code(t, err); c != "SYS-001" && c != "SYS-003" {
			t.Errorf("without its table: %q", c)
		}
	}
	if _, err := fetchPage(ctx, browser, http.MethodGet, link, nil); err == nil {
		t.Error("the page opened without its table")
	}
	if _, err := r.Admin.Shares(ctx, admin.SharesFilter{}); !isStatus(err, http.StatusInternalServerError) {
		t.Errorf("the operator's list without its table: %v", err)
	}
}

func second[A any](_ A, err error) error { return err }

// misuse sends secrets where they do not belong.
func (r *rig) misuse(browser *http.Client) {
	t, ctx := r.t, r.t.Context()
	plain := `{"requestNo":"RSR-9","sellerId":"` + seller + `","currency":"CNH","amount":"` + secretAmount + `","note":"` + secretNote + `"}`
	stranger := testKey(t, "client-4096")
	for want, body := range map[string][]byte{
		"SYS-005": []byte(plain + "}"), // no envelope at all
		"SEC-001": seal(t, "demo", plain, r.PlatformKey, stranger),
		"SEC-002": seal(t, "demo", plain, &stranger.PublicKey, r.ClientKey),
		"SYS-004": seal(t, "demo", strings.Replace(plain, "amount", secretNote, 1), r.PlatformKey, r.ClientKey),
	} {
		resp, err := browser.Post(r.File.API+infinia.OpRevenueSharing.Path(), "application/json", bytes.NewReader(body)) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		var answer bytes.Buffer
		if _, err := answer.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if env, err := envelope.ParseResponse(answer.Bytes()); err != nil || env.Code != want {
			t.Errorf("want %s, got %q %v", want, env.Code, err)
		}
	}
	private := string(envelope.MarshalPrivateKey(r.ClientKey))
	if _, err := r.Admin.AddKey(ctx, "demo", admin.NewKey{Act: r.act(), Owner: store.ClientKey, PublicKey: private}); err == nil {
		t.Error("a private key was registered as a public one")
	}
	if _, err := admin.NewClient(r.File.Admin, r.File.AdminToken+"x", browser).Apps(ctx, admin.AppsFilter{}); !isStatus(err, http.StatusUnauthorized) {
		t.Errorf("a wrong token: %v", err)
	}
	_, strange, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := r.sftpKey
	r.sftpKey = must(ssh.NewSignerFromKey(strange))(t)
	if _, _, err := r.DialSFTP(ctx); err == nil {
		t.Error("a strange key logged in")
	}
	r.sftpKey = own
}

// checkFiles looks for what production must not keep: plain requests in the database, tokens of links, keys of others.
func (r *rig) checkFiles(s secrets) {
	r.t.Helper()
	kept := secrets{}
	for _, what := range []string{"token of the link", "token of the error file", "field of the page", "admin token", "client key", "SFTP key"} {
		kept[what] = s[what]
	}
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		kept.check(r.t, path, string(content))
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.database != "" {
		rows := r.rows()
		if !strings.Contains(rows, secretShare.RequestNo) {
			r.t.Error("the database was not read, so that nothing can be found in it")
		}
		kept.check(r.t, "the database", rows)
	}
}

// rows are all rows of a database of PostgreSQL, as it stores them.
func (r *rig) rows() string {
	t, ctx := r.t, r.t.Context()
	t.Helper()
	conn := must(pgx.Connect(ctx, r.database))(t)
	defer conn.Close(ctx)
	tables := must(conn.Query(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"))(t)
	var all bytes.Buffer
	for _, table := range must(pgx.CollectRows(tables, pgx.RowTo[string]))(t) {
		must(conn.PgConn().CopyTo(ctx, &all, "COPY "+table+" TO STDOUT (FORMAT binary)"))(t)
	}
	return all.String()
}
