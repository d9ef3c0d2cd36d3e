package console

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
	"github.com/openinfinia/infinia/internal/trade"
)

const (
	publicURL = "https://pay.example.com"
	certNo    = "91310108MA1KXX7Q42"
	backTo    = "https://merchant.example.com/seller/1"
)

// rig is the pages over a real database, with one app.
type rig struct {
	t        *testing.T
	database string
	db       *store.DB
	engine   *op.Engine
	files    *trade.Importer
	log      *bytes.Buffer
	handler  http.Handler
}

func newRig(t *testing.T, engine storetest.Engine, publicURL, settings string, secure bool) *rig {
	t.Helper()
	ctx := t.Context()
	start := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	database := engine.New(t)
	db, err := store.Open(ctx, store.Config{Database: database, Clock: store.NewClock(func() time.Time { return start })})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	e, err := op.NewEngine(ctx, db, publicURL, false)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, database: database, db: db, engine: e, files: &trade.Importer{DB: db}, log: &bytes.Buffer{}}
	r.do(store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "shop", Name: "Merchant Hub", Settings: settings, CreatedAt: v.Now()})
	}})
	r.handler = New(Config{
		Engine: e, Importer: r.files, Log: slog.New(slog.NewTextHandler(r.log, nil)), Sandbox: true, Secure: secure,
		Address: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") },
	})
	return r
}

func (r *rig) do(u store.Unit) {
	r.t.Helper()
	if err := r.db.Do(r.t.Context(), u); err != nil {
		r.t.Fatal(err)
	}
}

// link asks for a binding and returns its path; changed members replace those of the documented example.
func (r *rig) link(requestNo string, changed map[string]string) string {
	r.t.Helper()
	content := op.Content{}
	for name, value := range map[string]string{
		"requestNo": requestNo, "sellerId": "SELLER-123456", "sellerCertNo": certNo, "sellerName": "Acme Trading Ltd.",
		"storeName": "Acme Official Store", "storeUrl": "https://store.example.com/acme", "entityType": "Corporate", "country": "CHN",
		"currency": "CNH", "note": "First-time binding", "backlinkUrl": backTo,
	} {
		if other, ok := changed[name]; ok {
			value = other
		}
		content[name] = &value
	}
	reply, err := op.All[0].Run(r.t.Context(), r.engine, pgdb.App{AppID: "shop"}, content)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimPrefix(reply.(infinia.AccountBindingReply).RedirectURL, r.engine.PublicURL)
}

// binding is the newest one.
func (r *rig) binding() pgdb.Binding {
	r.t.Helper()
	var b []pgdb.Binding
	if err := r.db.Read(context.Background(), func(q *pgdb.Queries) (err error) {
		b, err = q.PageBindings(context.Background(), pgdb.PageBindingsParams{Before: 1 << 60, Most: 1})
		return err
	}); err != nil || len(b) != 1 {
		r.t.Fatalf("%d bindings: %v", len(b), err)
	}
	return b[0]
}

// decide lets an operator act on the newest binding.
func (r *rig) decide(act func(*store.View, pgdb.Binding) error) {
	r.t.Helper()
	b := r.binding()
	r.do(store.Unit{
		Keys:  store.Keys{Apps: []string{b.AppID}, Sellers: []store.SellerKey{{AppID: b.AppID, SellerID: b.SellerID}}},
		Judge: func(v *store.View) error { return act(v, b) },
	})
}

func approve(v *store.View, b pgdb.Binding) error { _, err := op.Approve(v, b); return err }
func reject(v *store.View, b pgdb.Binding) error  { return op.Reject(v, b, "papers missing") }
func revoke(v *store.View, b pgdb.Binding) error  { return op.Revoke(v, b, "contract ended") }

// visitor is a browser as far as these pages go: it keeps cookies.
type visitor struct {
	*rig
	cookies map[string]string
	header  http.Header
}

func (r *rig) visitor() *visitor {
	return &visitor{rig: r, cookies: map[string]string{}, header: http.Header{"Accept-Language": {"en"}, "User-Agent": {"Test/1.0"}}}
}

func (v *visitor) send(method, path string, form url.Values) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, v.engine.PublicURL+path, strings.NewReader(form.Encode()))
	for name, values := range v.header {
		req.Header[name] = values
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range v.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	v.handler.ServeHTTP(w, req)
	for _, c := range w.Result().Cookies() {
		v.cookies[c.Name] = c.Value
	}
	return w
}

func (v *visitor) get(path string) *httptest.ResponseRecorder { return v.send("GET", path, nil) }

var hidden = regexp.MustCompile(`name="page" value="([^"]+)"`)

// form opens the page and fills it in.
func (v *visitor) form(path, action string) url.Values {
	v.t.Helper()
	m := hidden.FindStringSubmatch(v.get(path).Body.String())
	if m == nil {
		v.t.Fatalf("GET %s shows no form", path)
	}
	return url.Values{"page": {m[1]}, "agree": {"yes"}, "action": {action}}
}

func (v *visitor) answer(path, action string) *httptest.ResponseRecorder {
	v.t.Helper()
	return v.send("POST", path, v.form(path, action))
}

func expect(t *testing.T, w *httptest.ResponseRecorder, status int, texts ...string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d", w.Code, status)
	}
	for _, text := range texts {
		if !strings.Contains(w.Body.String(), text) {
			t.Errorf("the page lacks %q:\n%s", text, w.Body)
		}
	}
}

func TestStrictHeadersEverywhere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, publicURL, "{}", true)
		v := r.visitor()
		path := r.link("B-1", nil)
		for name, w := range map[string]*httptest.ResponseRecorder{
			"start":        v.get("/"),
			"form":         v.get(path),
			"dead link":    v.get("/b/none"),
			"refused post": v.send("POST", path, url.Values{}),
			"wrong method": v.send("PUT", path, nil),
			"dead file":    v.get("/errors/none"),
			"no page":      v.get("/none"),
			"style":        v.get(styleURL),
			"outcome":      v.answer(path, "confirm"),
		} {
			for header, want := range map[string]string{
				"Content-Security-Policy":    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
				"X-Frame-Options":            "DENY",
				"X-Content-Type-Options":     "nosniff",
				"Referrer-Policy":            "same-origin",
				"Cache-Control":              "no-store",
				"X-Robots-Tag":               "noindex, nofollow",
				"Cross-Origin-Opener-Policy": "same-origin",
				"Strict-Transport-Security":  "max-age=31536000",
			} {
				if header == "Cache-Control" && name == "style" {
					want = "public, max-age=31536000, immutable"
				}
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: %s is %q, want %q", name, header, got, want)
				}
			}
		}
	})
}

func TestCookieIsOutOfReachOfOtherSites(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		for secure, want := range map[bool]string{
			true:  "__Host-infinia-page=VALUE; Path=/; HttpOnly; Secure; SameSite=Strict",
			false: "infinia-page=VALUE; Path=/; HttpOnly; SameSite=Strict",
		} {
			r := newRig(t, engine, publicURL, "{}", secure)
			got := r.visitor().get(r.link("B-1", nil)).Header().Get("Set-Cookie")
			if got = regexp.MustCompile(`=[A-Z2-7]{26};`).ReplaceAllString(got, "=VALUE;"); got != want {
				t.Errorf("secure %t: Set-Cookie %q, want %q", secure, got, want)
			}
		}
	})
}

func TestStartPageAndStyle(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		v := newRig(t, engine, publicURL, "{}", false).visitor()
		expect(t, v.get("/"), 200, "Infinia Open", "/admin/v1/openapi.json", "No real money moves here.", styleURL)
		w := v.get(styleURL)
		expect(t, w, 200, "prefers-color-scheme: dark")
		if got := w.Header().Get("Content-Type"); got != "text/css; charset=utf-8" {
			t.Errorf("the style is of type %q", got)
		}
		expect(t, v.get("/static/none.css"), 404)
	})
}

func TestErrorFile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		const csv = "sellerId,orderId,lineNumber,errorCount,errors\n1,2,2,1,sku: is mandatory\n"
		r := newRig(t, engine, publicURL, "{}", false)
		v := r.visitor()
		expect(t, v.get(r.errorLink("T-none", 0)), 404, "There is no such error file")

		id, err := content.Write(t.Context(), r.db, content.Keys{}, func(w io.Writer) error { _, err := io.WriteString(w, csv); return err })
		if err != nil {
			t.Fatal(err)
		}
		path := r.errorLink("TDU-20250903-0001", id)
		w := v.get(path)
		expect(t, w, 200)
		if w.Body.String() != csv {
			t.Errorf("the file reads %q", w.Body)
		}
		for header, want := range map[string]string{
			"Content-Type":           "text/csv",
			"Content-Disposition":    "attachment; filename=TDU-20250903-0001_error.csv",
			"X-Content-Type-Options": "nosniff",
			"Cache-Control":          "no-store",
			"Last-Modified":          "Mon, 02 Nov 2026 08:00:00 GMT",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s is %q, want %q", header, got, want)
			}
		}
		if w := v.send("HEAD", path, nil); w.Code != 200 || w.Header().Get("Content-Disposition") == "" {
			t.Errorf("HEAD: status %d, headers %v", w.Code, w.Header())
		}
		r.db.Clock.Advance(25 * time.Hour)
		expect(t, v.get(path), 410, "This link has expired")
		expect(t, v.get("/errors/none"), 404, "There is no such error file")
		v.header.Set("Accept-Language", "zh-CN")
		expect(t, v.get("/errors/none"), 404, "没有这个错误文件")
	})
}

// errorLink is the path of a link to the error file of a failed trade file.
func (r *rig) errorLink(requestNo string, errorsID int64) string {
	r.t.Helper()
	var f pgdb.TradeFile
	r.do(store.Unit{Judge: func(v *store.View) error {
		f = pgdb.TradeFile{ID: v.NextID(), AppID: "shop", RequestNo: requestNo, Attempt: 1, State: "FAILED", SHA256: "00", ErrorsID: errorsID,
			ReceivedAt: v.Now(), FinishedAt: v.Now()}
		v.Files.Put(f.ID, f)
		return nil
	}})
	return strings.TrimPrefix(r.engine.ErrorLink(f), publicURL)
}

// PostgreSQL's missing socket is a missing file as well, and does not make a link dead.
func TestErrorFileWithoutDatabase(t *testing.T) {
	r := newRig(t, storetest.SQLite, publicURL, "{}", false)
	proxy, through := storetest.StartSocketProxy(t, storetest.Postgres.New(t))
	db, err := store.Open(t.Context(), store.Config{Database: through, Clock: r.db.Clock})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r.files.DB = db
	proxy.Close()
	expect(t, r.visitor().get(r.errorLink("T-1", 7)), 503)
}

func TestFaultsAreLoggedWithoutTheLink(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, publicURL, "{}", false)
		path := r.errorLink("T-1", 7)
		engine.Exec(t, r.database, "DROP TABLE content")
		w := r.visitor().get(path)
		expect(t, w, 500, "Something went wrong")
		fault := map[storetest.Engine]string{storetest.SQLite: "no such table", storetest.Postgres: "does not exist"}[engine]
		if strings.Contains(w.Body.String(), fault) {
			t.Error("the page shows the fault")
		}
		if !strings.Contains(r.log.String(), fault) || strings.Contains(r.log.String(), strings.TrimPrefix(path, "/errors/")) {
			t.Errorf("log: %s", r.log)
		}
	})
}
