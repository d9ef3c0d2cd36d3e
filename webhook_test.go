package infinia

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/envelope"
)

const frozen = `{"requestNo":"7042bac2-491b-41f8-b091-5199a20785c2","sellerId":"SELLER-123456","status":"FROZEN"}`

func TestWebhookAnswersSuccess(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body string
		want Notification
	}{
		"seller frozen": {
			notice(t, frozen),
			Notification{RequestNo: "7042bac2-491b-41f8-b091-5199a20785c2", SellerID: "SELLER-123456", Status: SellerIsFrozen, Content: []byte(frozen)},
		},
		"data called payload": {
			strings.Replace(notice(t, frozen), "requestData", "payload", 1),
			Notification{RequestNo: "7042bac2-491b-41f8-b091-5199a20785c2", SellerID: "SELLER-123456", Status: SellerIsFrozen, Content: []byte(frozen)},
		},
		"signed by the next platform key": {
			noticeBy(t, frozen, "demo", testKey(t, "platform-3072"), testKey(t, "client-2048")),
			Notification{RequestNo: "7042bac2-491b-41f8-b091-5199a20785c2", SellerID: "SELLER-123456", Status: SellerIsFrozen, Content: []byte(frozen)},
		},
		"sealed for the older client key": {
			noticeBy(t, frozen, "demo", testKey(t, "platform-2048"), testKey(t, "client-4096")),
			Notification{RequestNo: "7042bac2-491b-41f8-b091-5199a20785c2", SellerID: "SELLER-123456", Status: SellerIsFrozen, Content: []byte(frozen)},
		},
		"another event": {
			notice(t, `{"requestNo":"E-1","event":"file","fileNo":"TDU-1"}`),
			Notification{RequestNo: "E-1", Event: "file", Content: []byte(`{"requestNo":"E-1","event":"file","fileNo":"TDU-1"}`)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []Notification
			server := httptest.NewServer(webhookOf(t, func(_ context.Context, n Notification) error {
				got = append(got, n)
				return nil
			}))
			t.Cleanup(server.Close)
			for range 2 { // the second delivery is answered without handle
				resp, err := server.Client().Post(server.URL, "application/json; charset=UTF-8", strings.NewReader(tt.body))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || string(body) != "SUCCESS" {
					t.Errorf("HTTP %d %q, %v", resp.StatusCode, body, err)
				}
				if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain") {
					t.Errorf("the answer is %s", ct)
				}
			}
			if diff := cmp.Diff([]Notification{tt.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWebhookRefuses(t *testing.T) {
	t.Parallel()
	client, platform := testKey(t, "client-2048"), testKey(t, "platform-2048")
	for name, tt := range map[string]struct {
		method string
		body   string
		status int
	}{
		"GET":                      {http.MethodGet, "", 405},
		"HEAD":                     {http.MethodHead, "", 405},
		"too large":                {http.MethodPost, strings.Repeat(" ", maxBody+1), 413},
		"no envelope":              {http.MethodPost, frozen, 400},
		"signed by the client":     {http.MethodPost, noticeBy(t, frozen, "demo", client, client), 401},
		"signature of other data":  {http.MethodPost, strings.Replace(notice(t, frozen), `"requestData":"`, `"requestData":"AAAA`, 1), 401},
		"another app":              {http.MethodPost, noticeBy(t, frozen, "other", platform, client), 400},
		"sealed for somebody else": {http.MethodPost, noticeBy(t, frozen, "demo", platform, platform), 400},
		"not JSON":                 {http.MethodPost, notice(t, "SELLER-123456"), 400},
		"null":                     {http.MethodPost, notice(t, "null"), 400},
		"a number":                 {http.MethodPost, notice(t, `{"requestNo":1}`), 400},
		"no requestNo":             {http.MethodPost, notice(t, `{"sellerId":"SELLER-123456","status":"FROZEN"}`), 400},
		"no sellerId":              {http.MethodPost, notice(t, `{"requestNo":"E-1","status":"FROZEN"}`), 400},
		"unknown status":           {http.MethodPost, notice(t, `{"requestNo":"E-1","sellerId":"SELLER-123456","status":"frozen"}`), 400},
	} {
		var log strings.Builder
		h := webhookOf(t, func(context.Context, Notification) error {
			t.Errorf("%s: handle was called", name)
			return nil
		}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(tt.method, "/", strings.NewReader(tt.body)))
		if rec.Code != tt.status || strings.Contains(rec.Body.String(), "SUCCESS") {
			t.Errorf("%s: HTTP %d %q, want %d", name, rec.Code, rec.Body, tt.status)
		}
		if tt.status != 405 && strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s: logged %q", name, &log)
		}
		if strings.Contains(rec.Body.String()+log.String(), "SELLER") {
			t.Errorf("%s: content shown: %s %s", name, rec.Body, &log)
		}
	}
}

// A handle that failed, in whatever way, is called again at the next delivery.
func TestWebhookHandleFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("the database is away") },
		"panic": func() error { panic("a bug") },
	} {
		calls := 0
		h := webhookOf(t, func(context.Context, Notification) error {
			if calls++; calls == 1 {
				return fail()
			}
			return nil
		})
		for i, want := range []int{500, 200, 200} {
			if rec := deliver(t.Context(), h, notice(t, frozen)); rec.Code != want || strings.Contains(rec.Body.String(), "database") {
				t.Errorf("%s: delivery %d: HTTP %d %q, want %d", name, i+1, rec.Code, rec.Body, want)
			}
		}
		if calls != 2 {
			t.Errorf("%s: handle was called %d times, want 2", name, calls)
		}
	}
}

// Of two deliveries at once the second waits for the first and shares its end.
func TestWebhookTwoAtOnce(t *testing.T) {
	t.Parallel()
	body := notice(t, frozen)
	for end, status := range map[error]int{nil: 200, errors.New("no"): 500} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			calls := 0
			h := webhookOf(t, func(context.Context, Notification) error {
				calls++
				<-release
				return end
			})
			codes := make(chan int, 2)
			for range 2 {
				go func() { codes <- deliver(t.Context(), h, body).Code }()
			}
			synctest.Wait()
			if calls != 1 || len(codes) != 0 {
				t.Errorf("%d calls and %d answers while the first is handled", calls, len(codes))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if rec := deliver(ctx, h, body); rec.Code != 500 {
				t.Errorf("a third that hung up: HTTP %d", rec.Code)
			}
			close(release)
			if a, b := <-codes, <-codes; a != status || b != status || calls != 1 {
				t.Errorf("HTTP %d and %d after %d calls, want %d", a, b, calls, status)
			}
		})
	}
}

func TestWebhookDeduplicator(t *testing.T) {
	t.Parallel()
	kept := onceMap{}
	calls := 0
	for range 2 { // two runs of the user's program
		h := webhookOf(t, func(context.Context, Notification) error { calls++; return nil }, WithDeduplicator(kept))
		if rec := deliver(t.Context(), h, notice(t, frozen)); rec.Body.String() != "SUCCESS" {
			t.Errorf("HTTP %d %q", rec.Code, rec.Body)
		}
	}
	if calls != 1 {
		t.Errorf("handle was called %d times", calls)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := &memory{limit: 3}
	calls := 0
	count := func(context.Context) error { calls++; return nil }
	for i := range 5 {
		if err := m.Once(t.Context(), fmt.Sprint(i), count); err != nil {
			t.Fatal(err)
		}
	}
	for _, requestNo := range []string{"2", "3", "4", "0"} { // only 0 was forgotten
		if err := m.Once(t.Context(), requestNo, count); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 6 || len(m.runs) != 3 || len(m.done) != 3 {
		t.Errorf("%d calls, %d and %d kept", calls, len(m.runs), len(m.done))
	}
}

func TestMemorySurvivesAHandleThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	m := &memory{limit: 3}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.Once(t.Context(), "1", func(context.Context) error { runtime.Goexit(); return nil })
	}()
	<-ended
	called := false
	if err := m.Once(t.Context(), "1", func(context.Context) error { called = true; return nil }); err != nil || !called {
		t.Errorf("called again: %v, %v", called, err)
	}
}

func TestNewWebhookHandlerPanics(t *testing.T) {
	t.Parallel()
	client, platform := testKey(t, "client-2048"), testKey(t, "platform-2048")
	handle := func(context.Context, Notification) error { return nil }
	for name, make := range map[string]func(){
		"no app": func() {
			NewWebhookHandler("", []envelope.PrivateKey{client}, []*rsa.PublicKey{&platform.PublicKey}, handle)
		},
		"no key":          func() { NewWebhookHandler("demo", nil, []*rsa.PublicKey{&platform.PublicKey}, handle) },
		"no platform key": func() { NewWebhookHandler("demo", []envelope.PrivateKey{client}, []*rsa.PublicKey{nil}, handle) },
		"no handle": func() {
			NewWebhookHandler("demo", []envelope.PrivateKey{client}, []*rsa.PublicKey{&platform.PublicKey}, nil)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			make()
		}()
	}
}

// onceMap is a Deduplicator that outlives a handler.
type onceMap map[string]bool

func (m onceMap) Once(ctx context.Context, requestNo string, handle func(context.Context) error) error {
	if m[requestNo] {
		return nil
	}
	err := handle(ctx)
	m[requestNo] = err == nil
	return err
}

func webhookOf(t *testing.T, handle func(context.Context, Notification) error, opts ...WebhookOption) http.Handler {
	t.Helper()
	return NewWebhookHandler("demo",
		[]envelope.PrivateKey{testKey(t, "client-2048"), testKey(t, "client-4096")},
		[]*rsa.PublicKey{&testKey(t, "platform-2048").PublicKey, &testKey(t, "platform-3072").PublicKey},
		handle, append([]WebhookOption{WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
}

func deliver(ctx context.Context, h http.Handler, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body)))
	return rec
}

// notice seals a notification as the platform does.
func notice(t *testing.T, content string) string {
	t.Helper()
	return noticeBy(t, content, "demo", testKey(t, "platform-2048"), testKey(t, "client-2048"))
}

func noticeBy(t *testing.T, content, appID string, by, to *rsa.PrivateKey) string {
	t.Helper()
	data, err := envelope.Encrypt([]byte(content), &to.PublicKey, envelope.FullBlock)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := envelope.Sign(data, by)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(envelope.Request{Version: "1.0", AppID: appID, DataType: "JSON", RequestData: data, Signature: signature})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
