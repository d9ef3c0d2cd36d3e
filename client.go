package infinia

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/openinfinia/infinia/envelope"
)

// TraceHeader is the HTTP header of an answer that names the call in the server's log [O].
const TraceHeader = "Infinia-Trace-Id"

// maxBody bounds an HTTP body that this package reads, an answer or a notification.
const maxBody = 1 << 20

// ErrOutcomeUnknown marks the failure of a call that may have been carried out all the same: the connection broke, time
// ran out, the server answered SYS-008, or its answer could not be trusted. The way to learn the outcome is the same call
// under the same requestNo, now or in a week; a new requestNo could act twice [O]. Queries, which change nothing, never
// fail with it.
var ErrOutcomeUnknown = errors.New("outcome unknown, repeat the call under the same requestNo")

// Client calls the API as one app. It may be used by several goroutines at once.
//
// A call that the server refuses fails with an *[Error]. A call is tried again, under the same requestNo, after SYS-008,
// SEC-004 and faults of the network, an HTTP status of 5xx without an envelope among them, and after nothing else; see also [ErrOutcomeUnknown].
type Client struct {
	appID         string
	key           envelope.PrivateKey
	platformKeys  []*rsa.PublicKey
	baseURL       string
	paths         map[Operation]string
	http          *http.Client
	timeout       time.Duration
	blockBytes    int
	retries       int
	requireSigned bool
}

// Option changes a Client from its default.
type Option func(*Client)

// WithBaseURL sets what the paths of the operations are appended to, by convention a URL that ends in /api. The default is
// https://openapi.infiniax.com/api; the sandbox of the original is https://uat-openapi.infiniax.com/api [D].
func WithBaseURL(u string) Option { return func(c *Client) { c.baseURL = u } }

// WithHTTPClient sets what sends the requests, for a proxy or a root certificate of one's own. Redirects are not followed,
// whatever h says: a signed request is for one address.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithTimeout sets how long one try may take, 30 seconds by default. The context bounds the call as a whole.
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.timeout = d } }

// WithBlockBytes sets how many bytes of text go into one RSA block, by default as many as fit. The original's clients
// use 64 [C]; a receiver reads both.
func WithBlockBytes(n int) Option { return func(c *Client) { c.blockBytes = n } }

// WithPath sets where op is called, relative to the base URL: an [O] path may turn out otherwise.
func WithPath(op Operation, path string) Option { return func(c *Client) { c.paths[op] = path } }

// WithRetries sets how often a call is tried again, 2 by default, which is 3 tries in all.
func WithRetries(n int) Option { return func(c *Client) { c.retries = n } }

// RequireSignedResponses refuses answers without a signature. A signature that is there is verified in any case. The app's
// setting on the server must be on [O].
func RequireSignedResponses() Option { return func(c *Client) { c.requireSigned = true } }

// NewClient makes a client of the app: key signs its requests and opens the answers; requests are encrypted with the
// first of platformKeys, and signatures of the platform may be by any of them. [envelope.ParsePrivateKey] and
// [envelope.ParsePublicKey] read keys.
func NewClient(appID string, key envelope.PrivateKey, platformKeys []*rsa.PublicKey, opts ...Option) (*Client, error) {
	c := &Client{
		appID:        appID,
		key:          key,
		platformKeys: slices.Clone(platformKeys),
		baseURL:      "https://openapi.infiniax.com/api",
		paths:        map[Operation]string{},
		http:         http.DefaultClient,
		timeout:      30 * time.Second,
		blockBytes:   envelope.FullBlock,
		retries:      2,
	}
	for _, opt := range opts {
		opt(c)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("new client: %w", err)
	}
	c.baseURL = strings.TrimSuffix(c.baseURL, "/")
	own := *c.http
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http = &own
	return c, nil
}

func (c *Client) check() error {
	base, err := url.Parse(c.baseURL)
	switch {
	case c.appID == "":
		return errors.New("no appId")
	case c.key == nil:
		return errors.New("no private key")
	case len(c.platformKeys) == 0 || slices.Contains(c.platformKeys, nil):
		return errors.New("no platform key")
	case err != nil:
		return fmt.Errorf("base URL: %w", err)
	case base.Scheme != "https" && base.Scheme != "http", base.Host == "", base.RawQuery != "", base.Fragment != "":
		return errors.New("base URL: must be http or https with a host, and without query or fragment")
	case c.http == nil:
		return errors.New("no HTTP client")
	case c.timeout <= 0:
		return errors.New("the time-out must be above zero")
	case c.retries < 0:
		return errors.New("the number of retries must not be negative")
	}
	if _, err := envelope.Encrypt([]byte("{}"), c.platformKeys[0], c.blockBytes); err != nil {
		return err
	}
	if _, ok := c.key.Public().(*rsa.PublicKey); !ok {
		return fmt.Errorf("the private key is %T, not RSA", c.key.Public())
	}
	for _, op := range slices.Sorted(maps.Keys(c.paths)) {
		if !strings.HasPrefix(c.paths[op], "/") {
			return fmt.Errorf("the path of %s must begin with /", op)
		}
	}
	return nil
}

// Call makes any call with the content as it is, one JSON object of strings, and returns the opened reply. The methods of
// the operations are the typed way; this one is for programs that learn the operation at run time.
func (c *Client) Call(ctx context.Context, op Operation, content json.RawMessage) (json.RawMessage, error) {
	var named struct {
		RequestNo string `json:"requestNo"`
	}
	_ = json.Unmarshal(content, &named) // what is no such object is the server's to refuse
	return call[json.RawMessage](ctx, c, op, named.RequestNo, content)
}

// call makes one call of the API. requestNo is the one in req, which the answer must repeat, or "".
func call[Reply any](ctx context.Context, c *Client, op Operation, requestNo string, req any) (Reply, error) {
	var reply, none Reply
	plain, err := json.Marshal(req)
	if err != nil {
		return none, fmt.Errorf("%s: %w", op, err)
	}
	if err := c.do(ctx, op, requestNo, plain, &reply); err != nil {
		return none, err
	}
	return reply, nil
}

// do tries until there is an answer to keep. What one try left open stays open when a later one is refused, unless by a BIZ
// code: that alone shows that the server looked the requestNo up.
func (c *Client) do(ctx context.Context, op Operation, requestNo string, plain []byte, reply any) error {
	open := false
	for retry := 0; ; retry++ {
		err := c.try(ctx, op, requestNo, plain, reply)
		if err == nil {
			return nil
		}
		again := false
		if e, ok := errors.AsType[*Error](err); ok {
			again = e.Code.Retryable()
			switch {
			case e.Code == Unavailable:
				open = true
			case strings.HasPrefix(string(e.Code), "BIZ-"):
				open = false
			}
		} else if f, ok := errors.AsType[*fault](err); ok {
			again = f.again
			open = true
		}
		if again && retry < c.retries && pause(ctx, retry) {
			continue
		}
		if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
			err = fmt.Errorf("%w, then %w", err, ended)
		}
		if changes := !strings.HasSuffix(string(op), "/query"); open && changes {
			err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		return fmt.Errorf("%s: %w", op, err)
	}
}

// pause waits a quarter to half a second, twice as long each time up to 10 seconds, and says false when ctx ended.
func pause(ctx context.Context, retry int) bool {
	d := 10 * time.Second
	if retry < 4 {
		d = 500 * time.Millisecond << retry
	}
	timer := time.NewTimer(d/2 + rand.N(d/2)) //nolint:gosec // spreads clients over time, no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fault is the end of a try that tells nothing of what the server did: no answer, or none that can be trusted.
type fault struct {
	cause error
	again bool // worth another try
}

func (f *fault) Error() string { return f.cause.Error() }
func (f *fault) Unwrap() error { return f.cause }

func distrust(format string, args ...any) error {
	return &fault{cause: fmt.Errorf(format, args...)}
}

// try sends the request once and fills reply. It returns an *Error, a *fault, or another error when nothing was sent.
func (c *Client) try(ctx context.Context, op Operation, requestNo string, plain []byte, reply any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := c.seal(plain)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	at := c.baseURL + cmp.Or(c.paths[op], op.Path())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return &fault{err, true}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return &fault{fmt.Errorf("read the answer: %w", err), true}
	}
	trace := resp.Header.Get(TraceHeader)
	err = c.read(answer, resp.StatusCode, trace, requestNo, reply)
	if f, ok := errors.AsType[*fault](err); ok && trace != "" {
		f.cause = fmt.Errorf("%w (trace %s)", f.cause, trace)
	}
	return err
}

// seal encrypts, then signs [D]. Each try is sealed anew, so that no two look the same on the wire.
func (c *Client) seal(plain []byte) ([]byte, error) {
	data, err := envelope.Encrypt(plain, c.platformKeys[0], c.blockBytes)
	if err != nil {
		return nil, err
	}
	signature, err := envelope.Sign(data, c.key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope.Request{
		Version:     "1.0",
		AppID:       c.appID,
		DataType:    "JSON",
		RequestData: data,
		Signature:   signature,
	})
}

// read judges an answer and fills reply. The HTTP status counts only where there is no envelope [O].
func (c *Client) read(answer []byte, status int, trace, requestNo string, reply any) error {
	if len(answer) > maxBody {
		return distrust("HTTP %d with an answer of more than %d bytes", status, maxBody)
	}
	env, err := envelope.ParseResponse(answer)
	if err != nil {
		what := "without an envelope"
		if status >= 300 && status < 400 {
			what = "a redirect, which is not followed"
		}
		if status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
			return fmt.Errorf("HTTP %d: no such call there; does the base URL end in /api?", status) // and so nothing was done
		}
		return &fault{fmt.Errorf("HTTP %d, %s: %w", status, what, err), status >= 500}
	}
	if env.Signature != "" {
		if _, err := envelope.Verify(env.SigningText(), env.Signature, c.platformKeys...); err != nil {
			return distrust("the answer with code %q: %w", env.Code, err)
		}
	} else if c.requireSigned && (env.Code == string(Success) || env.ResponseData != "" || strings.HasPrefix(env.Code, "BIZ-")) {
		// Before it has authenticated a request, a server signs nothing: such a refusal is taken as it is.
		return distrust("the answer with code %q is not signed", env.Code)
	}
	// Whoever could not read the request cannot name the app.
	if env.AppID != c.appID && (env.AppID != "" || env.Code == string(Success)) {
		return distrust("the answer is for the app %q", env.AppID)
	}
	if env.Code != string(Success) {
		return c.refusal(env, trace, requestNo)
	}
	plain, err := envelope.Decrypt(env.ResponseData, c.key)
	if err != nil {
		return distrust("the answer: %w", err)
	}
	var echo struct {
		RequestNo string `json:"requestNo"`
	}
	if requestNo != "" && json.Unmarshal(plain, &echo) == nil && echo.RequestNo != requestNo {
		return distrust("the answer is to another requestNo")
	}
	if json.Unmarshal(plain, reply) != nil {
		return distrust("the answer has another content than the operation's reply")
	}
	return nil
}

// refusal makes the *Error of a code that is not Success. Its details are [O]: without them, or if they cannot be read,
// code and message stand alone, as they do in clear.
func (c *Client) refusal(env envelope.Response, trace, requestNo string) error {
	code := Code(env.Code)
	e := &Error{Code: code, Message: cmp.Or(env.Message, code.Message()), RequestNo: requestNo, TraceID: trace}
	if env.ResponseData == "" {
		return e
	}
	var body ErrorBody
	plain, err := envelope.Decrypt(env.ResponseData, c.key)
	if err != nil || json.Unmarshal(plain, &body) != nil {
		return e
	}
	if requestNo != "" && body.RequestNo != "" && body.RequestNo != requestNo {
		return distrust("the answer with code %s is to another requestNo", code)
	}
	e.RequestNo = cmp.Or(requestNo, body.RequestNo)
	e.TraceID = cmp.Or(body.TraceID, trace)
	e.Fields = body.Errors
	return e
}
