package infinia

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/envelope"
)

func TestClientSendsTheDocumentedExample(t *testing.T) {
	t.Parallel()
	const documented = `{"requestNo":"ABR-20250903-0001","sellerId":"SELLER-123456","sellerCertNo":"91310108MA1KXXXXXX",` +
		`"sellerName":"Acme Trading Ltd.","storeName":"Acme Official Store","storeUrl":"https://store.example.com/acme",` +
		`"entityType":"Corporate","country":"CHN","currency":"CNH","note":"First-time binding",` +
		`"backlinkUrl":"https://merchant.example.com/seller/SELLER-123456"}`
	var req AccountBindingRequest
	if err := json.Unmarshal([]byte(documented), &req); err != nil {
		t.Fatal(err)
	}
	p := newFakePlatform(t, func(p *fakePlatform, _ *http.Request, content string) envelope.Response {
		if content != documented {
			t.Errorf("content: %s", content)
		}
		return p.success(`{"requestNo":"ABR-20250903-0001","sellerId":"SELLER-123456","status":"PROCESSING","redirectUrl":"https://example.com/b/x","later":"member"}`)
	})
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)

	c := p.client(WithHTTPClient(server.Client()), WithBaseURL(server.URL+"/api/"))
	got, err := c.AccountBinding(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	want := AccountBindingReply{RequestNo: "ABR-20250903-0001", SellerID: "SELLER-123456", Status: BindingProcessing, RedirectURL: "https://example.com/b/x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p.last.URL.Path != "/api/v1/account-binding/request" || p.last.Header.Get("Content-Type") != "application/json" {
		t.Errorf("sent to %s as %s", p.last.URL, p.last.Header.Get("Content-Type"))
	}
}

func TestClientPaths(t *testing.T) {
	t.Parallel()
	calls := map[Operation]func(context.Context, *Client) error{
		OpAccountBinding: func(ctx context.Context, c *Client) error {
			_, err := c.AccountBinding(ctx, AccountBindingRequest{RequestNo: "R-1"})
			return err
		},
		OpAccountBindingQuery: func(ctx context.Context, c *Client) error {
			_, err := c.AccountBindingQuery(ctx, AccountBindingQueryRequest{SellerID: "S", Currency: "CNH"})
			return err
		},
		OpTradeDetailsQuery: func(ctx context.Context, c *Client) error {
			_, err := c.TradeDetailsQuery(ctx, TradeDetailsQueryRequest{RequestNo: "R-1"})
			return err
		},
		OpAccountBalance: func(ctx context.Context, c *Client) error {
			_, err := c.AccountBalance(ctx, AccountBalanceRequest{})
			return err
		},
		OpAvailableRevenue: func(ctx context.Context, c *Client) error {
			_, err := c.AvailableRevenue(ctx, AvailableRevenueRequest{})
			return err
		},
		OpRevenueSharing: func(ctx context.Context, c *Client) error { _, err := share(ctx, c); return err },
		OpRevenueSharingQuery: func(ctx context.Context, c *Client) error {
			_, err := c.RevenueSharingQuery(ctx, RevenueSharingQueryRequest{RequestNo: "R-1"})
			return err
		},
	}
	p := newFakePlatform(t, func(p *fakePlatform, _ *http.Request, _ string) envelope.Response {
		return p.success(`{"requestNo":"R-1"}`)
	})
	for op, call := range calls {
		if err := call(t.Context(), p.client()); err != nil {
			t.Errorf("%s: %v", op, err)
		}
		if p.last.URL.String() != "https://openapi.infiniax.com/api/v1/"+string(op) {
			t.Errorf("%s went to %s", op, p.last.URL)
		}
		if err := call(t.Context(), p.client(WithPath(op, "/v2/x"))); err != nil {
			t.Errorf("%s: %v", op, err)
		}
		if p.last.URL.Path != "/api/v2/x" {
			t.Errorf("%s went to %s instead of /v2/x", op, p.last.URL)
		}
	}
}

func TestClientBlockBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{envelope.FullBlock: 1, 64: 2} { // a share's content has more than 64 bytes
		p := newFakePlatform(t, func(p *fakePlatform, _ *http.Request, _ string) envelope.Response { return p.success(sharedReply) })
		if _, err := share(t.Context(), p.client(WithBlockBytes(n))); err != nil {
			t.Fatal(err)
		}
		if got := envelope.Blocks(p.sealed[0], 256); got != want {
			t.Errorf("%d bytes a block: %d blocks, want %d", n, got, want)
		}
	}
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	key, platform := testKey(t, "client-2048"), testKey(t, "platform-2048")
	for name, tt := range map[string]struct {
		appID string
		key   envelope.PrivateKey
		keys  []*rsa.PublicKey
		opt   Option
		want  string
	}{
		"no app":          {"", key, []*rsa.PublicKey{&platform.PublicKey}, WithRetries(1), "no appId"},
		"no key":          {"demo", nil, []*rsa.PublicKey{&platform.PublicKey}, WithRetries(1), "no private key"},
		"no platform key": {"demo", key, nil, WithRetries(1), "no platform key"},
		"base URL":        {"demo", key, []*rsa.PublicKey{&platform.PublicKey}, WithBaseURL("localhost:8080/api"), "http or https"},
		"base query":      {"demo", key, []*rsa.PublicKey{&platform.PublicKey}, WithBaseURL("https://x/api?a=b"), "without query"},
		"no HTTP client":  {"demo", key, []*rsa.PublicKey{&platform.PublicKey}, WithHTTPClient(nil), "no HTTP client"},
		"time-out":        {"demo", key, []*rsa.PublicKey{&platform.PublicKey}, WithTimeout(0), "time-out"},
		"retries":         {"demo", key, []*rsa.PublicKey{&platform.PublicKey}, WithRetries(-1), "retries"},
		"block":           {"demo", key, []*rsa.PublicKey{&platform.PublicKey}, WithBlockBytes(246), "1 to 245"},
		"path":            {"demo", key, []*rsa.PublicKey{&platform.PublicKey}, WithPath(OpAccountBalance, "v2"), "begin with /"},
	} {
		c, err := NewClient(tt.appID, tt.key, tt.keys, tt.opt)
		if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestClientRefusal(t *testing.T) {
	t.Parallel()
	const details = `{"requestNo":"R-1","traceId":"t-1","errors":[{"field":"amount","code":"SYS-006","message":"must be above zero"}]}`
	for name, tt := range map[string]struct {
		answer func(*fakePlatform) envelope.Response
		want   Error
	}{
		"with details": {
			func(p *fakePlatform) envelope.Response {
				return envelope.Response{AppID: "demo", Code: "SYS-006", Message: "out", ResponseData: p.seal(details)}
			},
			Error{OutOfRange, "out", "R-1", "t-1", []FieldError{{"amount", OutOfRange, "must be above zero"}}},
		},
		"in clear":         {answerOf(envelope.Response{AppID: "demo", Code: "BIZ-005"}), Error{OverAvailableShare, OverAvailableShare.Message(), "R-1", "t-http", nil}},
		"unknown app":      {answerOf(envelope.Response{Code: "SEC-001", Message: "no"}), Error{NotAuthenticated, "no", "R-1", "t-http", nil}},
		"unknown code":     {answerOf(envelope.Response{AppID: "demo", Code: "SYS-099", Message: "new"}), Error{"SYS-099", "new", "R-1", "t-http", nil}},
		"details not read": {answerOf(envelope.Response{AppID: "demo", Code: "BIZ-006", Message: "over", ResponseData: "AAAA"}), Error{OverBalance, "over", "R-1", "t-http", nil}},
	} {
		p := newFakePlatform(t, func(p *fakePlatform, _ *http.Request, _ string) envelope.Response { return tt.answer(p) })
		p.header = http.Header{TraceHeader: {"t-http"}}
		_, err := share(t.Context(), p.client())
		got, ok := errors.AsType[*Error](err)
		if !ok || p.tries() != 1 || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("%s: %v after %d tries", name, err, p.tries())
			continue
		}
		if diff := cmp.Diff(tt.want, *got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// An answer that cannot be trusted leaves open what the server did, and is not asked for again.
func TestClientDistrusts(t *testing.T) {
	t.Parallel()
	const secret = "secret of the page"
	success := func(content string, change func(*fakePlatform, *envelope.Response)) func(*fakePlatform) envelope.Response {
		return func(p *fakePlatform) envelope.Response {
			r := p.success(content)
			change(p, &r)
			return r
		}
	}
	for name, tt := range map[string]struct {
		answer func(*fakePlatform) envelope.Response
		status int
		raw    string
		opt    Option
		want   string
	}{
		"another requestNo": {answer: success(`{"requestNo":"R-2"}`, func(*fakePlatform, *envelope.Response) {}), want: "another requestNo"},
		"no requestNo":      {answer: success(`{}`, func(*fakePlatform, *envelope.Response) {}), want: "another requestNo"},
		"refusal of another": {
			answer: func(p *fakePlatform) envelope.Response {
				return envelope.Response{AppID: "demo", Code: "BIZ-005", ResponseData: p.seal(`{"requestNo":"R-2"}`)}
			},
			want: "another requestNo",
		},
		"another app":        {answer: success(sharedReply, func(_ *fakePlatform, r *envelope.Response) { r.AppID = "other" }), want: `the app "other"`},
		"no app":             {answer: success(sharedReply, func(_ *fakePlatform, r *envelope.Response) { r.AppID = "" }), want: "the app"},
		"no data":            {answer: success(sharedReply, func(_ *fakePlatform, r *envelope.Response) { r.ResponseData = "" }), want: "cannot be read"},
		"other content":      {answer: success(`{"requestNo":"R-1","amount":1}`, func(*fakePlatform, *envelope.Response) {}), want: "another content"},
		"not signed":         {answer: success(sharedReply, func(*fakePlatform, *envelope.Response) {}), opt: RequireSignedResponses(), want: "not signed"},
		"refusal not signed": {answer: answerOf(envelope.Response{AppID: "demo", Code: "BIZ-004"}), opt: RequireSignedResponses(), want: `"BIZ-004" is not signed`},
		"signature of another text": {answer: success(sharedReply, func(p *fakePlatform, r *envelope.Response) {
			p.sign(r, p.key)
			r.Message += "!"
		}), want: "does not verify"},
		"signature by another": {answer: success(sharedReply, func(p *fakePlatform, r *envelope.Response) {
			p.sign(r, testKey(t, "client-2048"))
		}), want: "does not verify"},
		"page":         {status: 400, raw: "<html>" + secret, want: "HTTP 400, without an envelope"},
		"other JSON":   {status: 200, raw: `{"error":"` + secret + `"}`, want: "code is missing"},
		"redirect":     {status: 307, raw: secret, want: "a redirect"},
		"endless page": {status: 200, raw: strings.Repeat(secret, 1<<16), want: "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFakePlatform(t, func(p *fakePlatform, _ *http.Request, _ string) envelope.Response { return tt.answer(p) })
			p.status, p.raw = tt.status, tt.raw
			p.header = http.Header{TraceHeader: {"t-http"}, "Location": {"/elsewhere"}}
			opts := []Option{WithRetries(2)}
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			reply, err := share(t.Context(), p.client(opts...))
			if !errors.Is(err, ErrOutcomeUnknown) || p.tries() != 1 || reply != (RevenueSharingReply{}) {
				t.Fatalf("%+v, %v after %d tries", reply, err, p.tries())
			}
			if s := err.Error(); !strings.Contains(s, tt.want) || !strings.Contains(s, "(trace t-http)") || strings.Contains(s, secret) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestClientTakesAnyPlatformSignature(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"platform-2048", "platform-3072"} {
		p := newFakePlatform(t, func(p *fakePlatform, _ *http.Request, _ string) envelope.Response {
			r := p.success(sharedReply)
			p.sign(&r, testKey(t, by))
			return r
		})
		if _, err := share(t.Context(), p.client(RequireSignedResponses())); err != nil {
			t.Errorf("signed by %s: %v", by, err)
		}
	}
}

func TestClientRetries(t *testing.T) {
	t.Parallel()
	code := func(c Code) step { return step{code: c} }
	broken, page, slow := step{broken: true}, step{status: 502}, step{hang: true}
	for name, tt := range map[string]struct {
		steps  []step
		code   Code // of the *Error
		open   bool
		atMost time.Duration
	}{
		"unavailable, then done":      {steps: []step{code(Unavailable), code(Success)}, atMost: 500 * time.Millisecond},
		"too many, broken, then done": {steps: []step{code(TooManyRequests), broken, code(Success)}, atMost: 1500 * time.Millisecond},
		"bad gateway, then done":      {steps: []step{page, code(Success)}, atMost: 500 * time.Millisecond},
		"time-out, then refused":      {steps: []step{slow, code(OverBalance)}, code: OverBalance, atMost: 31 * time.Second},
		"always unavailable":          {steps: []step{code(Unavailable), code(Unavailable), code(Unavailable)}, code: Unavailable, open: true, atMost: 1500 * time.Millisecond},
		"always broken":               {steps: []step{broken, broken, broken}, open: true, atMost: 1500 * time.Millisecond},
		"always slow":                 {steps: []step{slow, slow, slow}, open: true, atMost: 92 * time.Second},
		"always too many":             {steps: []step{code(TooManyRequests), code(TooManyRequests), code(TooManyRequests)}, code: TooManyRequests, atMost: 1500 * time.Millisecond},
		"time-out, then too many":     {steps: []step{slow, code(TooManyRequests), code(TooManyRequests)}, code: TooManyRequests, open: true, atMost: 32 * time.Second},
		"time-out, then a fault":      {steps: []step{slow, code(InternalFault)}, code: InternalFault, open: true, atMost: 31 * time.Second},
		"a fault alone":               {steps: []step{code(InternalFault)}, code: InternalFault},
		"refused":                     {steps: []step{code(NotAuthenticated)}, code: NotAuthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFakePlatform(t, nil)
			p.steps = tt.steps
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := share(t.Context(), p.client())
				if took := time.Since(start); took > tt.atMost || len(tt.steps) > 1 && took < 250*time.Millisecond {
					t.Errorf("took %s", took)
				}
				if p.tries() != len(tt.steps) {
					t.Errorf("%d tries, want %d", p.tries(), len(tt.steps))
				}
				e, ok := errors.AsType[*Error](err)
				if (tt.code == "" && !tt.open) != (err == nil) || ok != (tt.code != "") || ok && e.Code != tt.code {
					t.Errorf("error %v, want code %q", err, tt.code)
				}
				if errors.Is(err, ErrOutcomeUnknown) != tt.open {
					t.Errorf("open is %v, want %v: %v", !tt.open, tt.open, err)
				}
			})
			seen := map[string]bool{}
			for i, data := range p.sealed {
				if seen[data] {
					t.Error("a try was sent as the one before, not sealed anew")
				}
				seen[data] = true
				if p.contents[i] != p.contents[0] {
					t.Errorf("try %d had another content: %s", i+1, p.contents[i])
				}
			}
		})
	}
}

func TestClientOutcomeOfAQueryIsNeverUnknown(t *testing.T) {
	t.Parallel()
	p := newFakePlatform(t, nil)
	p.steps = []step{{broken: true}}
	_, err := p.client(WithRetries(0)).AccountBalance(t.Context(), AccountBalanceRequest{Currency: "CNH"})
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrOutcomeUnknown) {
		t.Error(err)
	}
}

func TestClientContext(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		steps []step
		after time.Duration
		open  bool
	}{
		"before the first try": {nil, 0, false},
		"during a try":         {[]step{{hang: true}}, time.Second, true},
		"between two tries":    {[]step{{code: Unavailable}}, 100 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFakePlatform(t, nil)
			p.steps = tt.steps
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.after)
				defer cancel()
				start := time.Now()
				_, err := share(ctx, p.client())
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrOutcomeUnknown) != tt.open {
					t.Error(err)
				}
				if took := time.Since(start); took != tt.after || p.tries() != len(tt.steps) {
					t.Errorf("ended after %s and %d tries", took, p.tries())
				}
			})
		})
	}
}

// sharedReply answers share.
const sharedReply = `{"requestNo":"R-1","sellerId":"S-1","currency":"CNH","amount":"1.00","status":"PROCESSING"}`

func share(ctx context.Context, c *Client) (RevenueSharingReply, error) {
	return c.RevenueSharing(ctx, RevenueSharingRequest{RequestNo: "R-1", SellerID: "S-1", Currency: "CNH", Amount: "1.00"})
}

// fakePlatform answers requests that it really opens, over HTTP or, as the http.Client's transport, in the caller's own
// goroutine. With steps it follows them and asks nobody.
type fakePlatform struct {
	t      *testing.T
	key    *rsa.PrivateKey
	answer func(p *fakePlatform, r *http.Request, content string) envelope.Response
	steps  []step
	header http.Header
	status int    // of all answers, with raw in place of the envelope
	raw    string // likewise

	last     *http.Request
	sealed   []string // requestData of each try
	contents []string
}

// step is what happens to one try.
type step struct {
	code   Code // answered
	status int  // answered without an envelope
	broken bool // the connection breaks
	hang   bool // no answer at all
}

func newFakePlatform(t *testing.T, answer func(*fakePlatform, *http.Request, string) envelope.Response) *fakePlatform {
	t.Helper()
	return &fakePlatform{t: t, key: testKey(t, "platform-2048"), answer: answer}
}

func (p *fakePlatform) client(opts ...Option) *Client {
	p.t.Helper()
	keys := []*rsa.PublicKey{&p.key.PublicKey, &testKey(p.t, "platform-3072").PublicKey}
	c, err := NewClient("demo", testKey(p.t, "client-2048"), keys, append([]Option{WithHTTPClient(&http.Client{Transport: p})}, opts...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *fakePlatform) tries() int { return len(p.sealed) }

func (p *fakePlatform) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, r)
	if n := p.tries(); n <= len(p.steps) {
		switch s := p.steps[n-1]; {
		case s.broken:
			return nil, io.ErrUnexpectedEOF
		case s.hang:
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
	}
	return rec.Result(), nil
}

func (p *fakePlatform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.last = r
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Error(err)
	}
	env, err := envelope.ParseRequest(body)
	if err != nil || env.Version != "1.0" || env.AppID != "demo" {
		p.t.Errorf("request %s: %v", body, err)
	}
	if _, err := envelope.Verify(env.RequestData, env.Signature, &testKey(p.t, "client-2048").PublicKey); err != nil {
		p.t.Error(err)
	}
	plain, err := envelope.Decrypt(env.RequestData, p.key)
	if err != nil {
		p.t.Error(err)
	}
	p.sealed = append(p.sealed, env.RequestData)
	p.contents = append(p.contents, string(plain))

	for name, values := range p.header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	var answer envelope.Response
	switch n := p.tries(); {
	case p.status != 0:
		w.WriteHeader(p.status)
		_, _ = io.WriteString(w, p.raw)
		return
	case n > len(p.steps):
		answer = p.answer(p, r, string(plain))
	case p.steps[n-1].status != 0:
		w.WriteHeader(p.steps[n-1].status)
		return
	case p.steps[n-1].code == Success:
		answer = p.success(sharedReply)
	default:
		answer = envelope.Response{AppID: "demo", Code: string(p.steps[n-1].code)}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (p *fakePlatform) success(content string) envelope.Response {
	return envelope.Response{AppID: "demo", Code: "SUC-200", Message: "success", ResponseData: p.seal(content)}
}

func (p *fakePlatform) seal(content string) string {
	data, err := envelope.Encrypt([]byte(content), &testKey(p.t, "client-2048").PublicKey, envelope.FullBlock)
	if err != nil {
		p.t.Error(err)
	}
	return data
}

func (p *fakePlatform) sign(r *envelope.Response, key *rsa.PrivateKey) {
	signature, err := envelope.Sign(r.SigningText(), key)
	if err != nil {
		p.t.Error(err)
	}
	r.Signature = signature
}

func answerOf(r envelope.Response) func(*fakePlatform) envelope.Response {
	return func(*fakePlatform) envelope.Response { return r }
}

func testKey(t testing.TB, name string) *rsa.PrivateKey {
	t.Helper()
	pem, err := os.ReadFile("envelope/testdata/keys/test-" + name + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := envelope.ParsePrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestClientBeforeAuthentication: what a server says before it has authenticated a request is not signed, and is taken as
// it is even where signatures are required; a wrong base URL is no open outcome.
func TestClientBeforeAuthentication(t *testing.T) {
	t.Parallel()
	p := newFakePlatform(t, func(*fakePlatform, *http.Request, string) envelope.Response {
		return envelope.Response{AppID: "demo", Code: "SEC-001", Message: "not authenticated"}
	})
	_, err := share(t.Context(), p.client(RequireSignedResponses()))
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != NotAuthenticated || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("not authenticated: %v", err)
	}
	p.status, p.raw = http.StatusNotFound, "404 page not found"
	if _, err := share(t.Context(), p.client()); errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), "/api") {
		t.Errorf("not found: %v", err)
	}
}
