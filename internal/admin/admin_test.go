package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
	"github.com/openinfinia/infinia/internal/trade"
)

// rig is the API over a real database and real HTTP.
type rig struct {
	*testing.T
	*Client
	e   *op.Engine
	im  *trade.Importer
	url string
	log *strings.Builder
	n   atomic.Int64
}

const testApp = "demo"

func newRig(t *testing.T, engine storetest.Engine, change func(*Config)) *rig {
	t.Helper()
	clock := store.NewClock(func() time.Time { return time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC) })
	db, err := store.Open(t.Context(), store.Config{Database: engine.New(t), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{T: t, log: &strings.Builder{}}
	if r.e, err = op.NewEngine(t.Context(), db, "http://127.0.0.1", false); err != nil {
		t.Fatal(err)
	}
	r.im = &trade.Importer{DB: db}
	cfg := Config{Engine: r.e, Importer: r.im, Log: slog.New(slog.NewTextHandler(r.log, nil)), KeyBits: 2048,
		Tokens: map[string]string{"ann": "token-of-ann", "bob": "token-of-bob", "nobody": ""}, Sandbox: &Sandbox{Clock: clock, Moved: func() error { return nil }}}
	if change != nil {
		change(&cfg)
	}
	server := httptest.NewServer(New(cfg))
	t.Cleanup(server.Close)
	r.url = server.URL + base
	r.Client = NewClient(r.url, "token-of-ann", server.Client())
	return r
}

// withApp is a rig with the app that most tests act on.
func withApp(t *testing.T, engine storetest.Engine, set store.Settings) *rig {
	t.Helper()
	r := newRig(t, engine, nil)
	must(r, r.AddApp, NewApp{Act: r.act(), AppID: testApp, Name: "Demo", Settings: set, PlatformPrivateKey: keyFile(t, "test-platform-2048.pem")})
	return r
}

// act is a fresh reference.
func (r *rig) act() Act {
	return Act{Reference: "REF-" + strconv.FormatInt(r.n.Add(1), 10), Reason: "because of the test"}
}

func keyFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../envelope/testdata/keys/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// must makes a call that has to succeed.
func must[I, A any](r *rig, call func(context.Context, I) (A, error), in I) A {
	r.Helper()
	answer, err := call(r.Context(), in)
	if err != nil {
		r.Fatal(err)
	}
	return answer
}

// must2 is must for calls about something.
func must2[K, I, A any](r *rig, call func(context.Context, K, I) (A, error), about K, in I) A {
	r.Helper()
	return must(r, func(ctx context.Context, in I) (A, error) { return call(ctx, about, in) }, in)
}

// refused wants a refusal with the status and exactly these wrong fields.
func (r *rig) refused(err error, status int, fields ...string) *Error {
	r.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		r.Fatalf("error %v, want a refusal", err)
	}
	got := []string{}
	for _, f := range e.Fields {
		got = append(got, f.Field)
	}
	slices.Sort(got)
	slices.Sort(fields)
	if e.Status != status || !slices.Equal(got, fields) || e.TraceID == "" {
		r.Fatalf("refused with %v, want %d %v", e, status, fields)
	}
	return e
}

// audited wants that the newest audit row is of this act and holds before and after.
func (r *rig) audited(name string, before, after any) {
	r.Helper()
	a := must(r, r.Audits, AuditsFilter{Page: Page{Most: 1}}).Items[0]
	for _, side := range []struct {
		stored json.RawMessage
		want   any
	}{{a.Before, before}, {a.After, after}} {
		want, err := json.Marshal(side.want)
		if err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(side.stored)); diff != "" {
			r.Error(diff)
		}
	}
	if a.Act != name || a.Actor != "ann" || a.Reason != "because of the test" || a.Subject == "" || a.At.IsZero() {
		r.Errorf("audit row %+v, want %s by ann", a, name)
	}
}

func (r *rig) verify() {
	r.Helper()
	v, err := r.Verify(r.Context())
	if err != nil || !v.Sound {
		r.Errorf("books: %+v, %v", v, err)
	}
}

func (r *rig) request(method, path, token, body string) (int, string) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK && resp.Header.Get("Content-Type") != "application/problem+json" {
		r.Errorf("%s %s: %d as %s", method, path, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return resp.StatusCode, string(text)
}

// call runs an operation as gate does.
func call[Rep any](r *rig, name infinia.Operation, members map[string]string) Rep {
	r.Helper()
	content := op.Content{}
	for k, v := range members {
		content[k] = &v
	}
	i := slices.IndexFunc(op.All, func(o op.Operation) bool { return o.Name == name })
	rep, err := op.All[i].Run(r.Context(), r.e, pgdb.App{AppID: testApp}, content)
	if err != nil {
		r.Fatal(err)
	}
	return rep.(Rep)
}

// confirmed is a binding that the seller has confirmed.
func (r *rig) confirmed(requestNo, seller string) ID {
	r.Helper()
	rep := call[infinia.AccountBindingReply](r, infinia.OpAccountBinding, map[string]string{"requestNo": requestNo, "sellerId": seller,
		"sellerCertNo": "CERT-" + seller, "sellerName": "Acme Trading Ltd.", "storeName": "Acme", "storeUrl": "https://store.example.com/acme",
		"entityType": "Corporate", "country": "CHN", "currency": "CNH"})
	b, err := r.e.Confirm(r.Context(), rep.RedirectURL[len("http://127.0.0.1/b/"):], op.Consent{TextVersion: "1", Language: "en", Address: "192.0.2.7"})
	if err != nil {
		r.Fatal(err)
	}
	return idOf(b.ID)
}

// due hands the due tasks of a queue to their work.
func (r *rig) due(queue string, work func(context.Context, []pgdb.Task) []error) {
	r.Helper()
	tasks, err := read(r.Context(), &server{db: r.e.DB}, func(q *pgdb.Queries) ([]pgdb.Task, error) {
		return q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: queue, Now: store.Millis(r.e.DB.Clock.Now()), Most: 100})
	})
	if err != nil {
		r.Fatal(err)
	}
	if err := errors.Join(work(r.Context(), tasks)...); err != nil {
		r.Fatal(err)
	}
}

func TestToken(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := newRig(t, engine, nil)
		for name, header := range map[string]string{"none": "", "wrong": "Bearer token-of-eve", "empty": "Bearer ", "another scheme": "Basic token-of-ann"} {
			for _, path := range []string{"/apps", "/no-such-call", "/openapi.yaml"} {
				if status, body := r.request("GET", path, header, ""); status != 401 || !strings.Contains(body, "Bearer") {
					t.Errorf("token %s for %s: %d %s", name, path, status, body)
				}
			}
		}
		if status, _ := r.request("GET", "/apps", "bearer token-of-bob", ""); status != 200 {
			t.Errorf("the scheme's letter case counts: %d", status)
		}
		if status, _ := r.request("GET", "/no-such-call", "Bearer token-of-bob", ""); status != 404 {
			t.Errorf("no such call: %d", status)
		}
		status, body := r.request("GET", "/openapi.json", "", "")
		var doc struct {
			OpenAPI string
			Paths   map[string]any
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 || doc.OpenAPI != "3.1.0" || doc.Paths["/admin/v1/deposits/{id}/reverse"] == nil {
			t.Errorf("openapi.json: %d %v %.200s", status, err, body)
		}
	})
}

func TestEveryFaultAtOnceAndNoValue(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := newRig(t, engine, nil)
		const secret = "must-not-come-back"
		status, body := r.request("POST", "/apps", "Bearer token-of-ann", `{"reference":"`+secret+`!","name":7,"platformPrivateKey":"`+secret+`",
		"settings":{"zone":"`+secret+`","callbackUrl":"`+secret+`"},"clientPublicKey":"`+secret+`"}`)
		if status != 422 || strings.Contains(body, secret) {
			t.Errorf("%d %s", status, body)
		}
		for _, field := range []string{"reason", "appId", "reference", "name", "platformPrivateKey", "settings.zone", "settings.callbackUrl", "clientPublicKey"} {
			if !strings.Contains(body, `"location":"body.`+field+`"`) {
				t.Errorf("%s is not named in %s", field, body)
			}
		}
		if status, body = r.request("POST", "/apps", "Bearer token-of-ann", `{"reference":`); status != 400 {
			t.Errorf("cut body: %d %s", status, body)
		}
		if status, body = r.request("GET", "/apps?most=501&before=x", "Bearer token-of-ann", ""); status != 422 || !strings.Contains(body, "query.most") || !strings.Contains(body, "query.before") {
			t.Errorf("wrong page: %d %s", status, body)
		}
		if status, body = r.request("GET", "/apps?mots=5", "Bearer token-of-ann", ""); status != 422 {
			t.Errorf("unknown parameter: %d %s", status, body)
		}
	})
}

func TestUnknownFaultHasOnlyATrace(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := newRig(t, engine, func(c *Config) {
			c.Sandbox.Reset = func(context.Context) error { return errors.New("the disk is gone") }
		})
		_, err := r.ResetSandbox(r.Context())
		e := r.refused(err, 500)
		if strings.Contains(e.Detail, "disk") || !strings.Contains(e.Detail, e.TraceID) || strings.Count(r.log.String(), "the disk is gone") != 1 ||
			!strings.Contains(r.log.String(), e.TraceID) {
			t.Errorf("answer %v, log %s", e, r.log)
		}
	})
}

func TestClosedDatabaseIsUnavailable(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		if err := r.e.DB.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := r.DisableApp(r.Context(), testApp, r.act())
		r.refused(err, 503)
	})
}

func TestSandbox(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := newRig(t, engine, nil)
		before, err := r.Clock(r.Context())
		if err != nil {
			t.Fatal(err)
		}
		after, err := r.AdvanceClock(r.Context(), 48*time.Hour)
		if err != nil || after.Now.Sub(before.Now) != 48*time.Hour || !r.e.DB.Clock.Now().Equal(after.Now) {
			t.Errorf("from %s to %s, %v", before.Now, after.Now, err)
		}
		_, err = r.AdvanceClock(r.Context(), -time.Hour)
		r.refused(err, 422, "advance")
		_, err = r.ResetSandbox(r.Context())
		r.refused(err, 404)

		production := newRig(t, engine, func(c *Config) { c.Sandbox, c.Production = nil, true })
		_, err = production.AdvanceClock(r.Context(), time.Hour)
		production.refused(err, 404)
	})
}
