// Package gate is where an envelope enters and leaves: limits, app and keys, open, run, seal, record.
//
// It answers SYS and SEC by itself; what an operation does with a request, and every BIZ, is told by package op. The order
// of the steps is the contract's: the signature is verified before any private key is used, and every failure from
// decrypting to decoding gives one and the same answer.
package gate

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Config is what a Gate needs; zero values of the limits are their defaults.
type Config struct {
	Engine  *op.Engine
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Sandbox bool    // failures are explained in recorded calls, which keep their plain bodies
	Faults  *Faults // what goes wrong on purpose; nil in production
	Paths   map[infinia.Operation]string

	RequestDataMost  int           // characters; default 64 KiB
	ReadTimeout      time.Duration // for a request's body; default 10 s
	CallsPerSecond   float64       // per address; default 200
	VerificationMost int           // at once; default 64
	BehindProxy      bool          // the caller's address is the last one of X-Forwarded-For
}

// Gate serves the API.
type Gate struct {
	cfg      Config
	log      *slog.Logger
	limits   *limits
	recorder *recorder
	metrics  metrics
	verify   chan struct{}
	rsa      rsaEngine
	mux      *http.ServeMux
	traffic  traffic
}

// rsaEngine is what a call costs most of: one place to put a faster one, and to measure the rest without.
type rsaEngine struct {
	verify  func(text, signature string, keys ...*rsa.PublicKey) (int, error)
	decrypt func(data string, keys ...envelope.PrivateKey) ([]byte, error)
	encrypt func(plain []byte, to *rsa.PublicKey, blockBytes int) (string, error)
}

// New makes a gate that serves every operation of op.All under its path.
func New(cfg Config) *Gate {
	if cfg.RequestDataMost == 0 {
		cfg.RequestDataMost = 64 << 10
	}
	if cfg.ReadTimeout == 0 {
		cfg.ReadTimeout = 10 * time.Second
	}
	if cfg.CallsPerSecond == 0 {
		cfg.CallsPerSecond = 200
	}
	if cfg.VerificationMost == 0 {
		cfg.VerificationMost = 64
	}
	g := &Gate{cfg: cfg, log: cfg.Log, limits: newLimits(cfg.Engine.DB, cfg.CallsPerSecond), recorder: newRecorder(cfg.Engine.DB, cfg.Log),
		metrics: newMetrics(cfg.Metrics), verify: make(chan struct{}, cfg.VerificationMost),
		rsa: rsaEngine{envelope.Verify, envelope.Decrypt, envelope.Encrypt}, mux: http.NewServeMux(), traffic: traffic{since: time.Now()}}
	for _, o := range op.All {
		path := o.Name.Path()
		if p, ok := cfg.Paths[o.Name]; ok {
			path = p
		}
		g.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, o) })
	}
	return g
}

// ServeHTTP serves the paths relative to the base URL that ends in /api.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// Busy says whether calls are under way, or were a moment ago, so that more are to be expected.
func (g *Gate) Busy() bool { return g.traffic.busy() }

// Close writes the calls that are still to be recorded.
func (g *Gate) Close() { g.recorder.close() }

// call is one request on its way.
type call struct {
	o       op.Operation
	trace   string
	address netip.Addr
	began   time.Time

	env     envelope.Request
	caller  *store.Caller      // who it says it is; empty while that is not known
	signer  store.ClientKeyRow // the key that verified the request
	plain   []byte
	content op.Content // nil until the request was authenticated and read
	fault   Fault      // that was put on this call
	detail  string     // for the record: what exactly went wrong
}

func (g *Gate) serve(w http.ResponseWriter, r *http.Request, o op.Operation) {
	g.traffic.begin()
	defer g.traffic.end()
	c := &call{o: o, trace: traceID(), address: g.Address(r), began: time.Now(), caller: &store.Caller{}}
	reply, err := g.run(w, r, c)
	if c.fault != (Fault{}) {
		c.detail = "a fault was put on this call"
	}
	resp, answer := g.respond(c, reply, err)
	g.metrics.observe(string(o.Name), resp.Code, time.Since(c.began))
	g.record(c, resp.Code, answer)
	c.fault.lose()
	status := http.StatusOK
	if c.env.AppID == "" { // it did not reach the envelope
		status = statusOf(infinia.Code(resp.Code))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set(infinia.TraceHeader, c.trace)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(resp); err != nil {
		g.log.Info("answer not delivered", "trace", c.trace, "err", err)
	}
}

// run takes the request through the contract's steps; a panic becomes an internal fault.
func (g *Gate) run(w http.ResponseWriter, r *http.Request, c *call) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			reply, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := g.read(w, r, c); err != nil {
		return nil, err
	}
	if !g.limits.address(c.address) {
		return nil, infinia.Errorf(infinia.TooManyRequests)
	}
	kept := g.cfg.Engine.DB.KeptCaller(c.env.AppID)
	if kept == nil || !c.o.Changing { // a query commits nothing that would find out whether the app has changed
		return g.judgeFresh(r.Context(), c, nil)
	}
	c.caller = kept
	reply, err = g.judge(r.Context(), c, kept.App)
	_, refused := errors.AsType[*infinia.Error](err)
	if !refused && !errors.Is(err, store.ErrOutdated) {
		return reply, err // it was committed with the app as it was kept, or failed by no fault of the caller's
	}
	return g.judgeFresh(r.Context(), c, err)
}

// judgeFresh judges the call by what the app is now. Where the app is what it was taken for when the call was refused, the
// refusal stands.
func (g *Gate) judgeFresh(ctx context.Context, c *call, refusal error) (any, error) {
	now, err := g.cfg.Engine.DB.ReadCaller(ctx, c.env.AppID)
	switch {
	case err != nil:
		return nil, err
	case refusal != nil && now.Same(c.caller) && !errors.Is(refusal, store.ErrOutdated):
		return nil, refusal
	case now == nil:
		now = &store.Caller{}
	}
	c.caller, c.signer, c.plain, c.content, c.detail = now, store.ClientKeyRow{}, nil, nil, ""
	return g.judge(ctx, c, pgdb.App{AppID: c.env.AppID})
}

// judge takes the request through the steps from the signature on; see op.Operation.Run for app.
func (g *Gate) judge(ctx context.Context, c *call, app pgdb.App) (any, error) {
	if err := g.authenticate(ctx, c); err != nil {
		return nil, err
	}
	if err := g.permit(ctx, c); err != nil {
		return nil, err
	}
	if err := g.open(c); err != nil {
		return nil, err
	}
	if c.fault == (Fault{}) { // it is one for a call, however often that is judged
		c.fault, _ = g.cfg.Faults.take(c.o.Name)
		if err := c.fault.meet(ctx); err != nil {
			return nil, err
		}
	}
	return c.o.Run(ctx, g.cfg.Engine, app, c.content)
}

// read takes in the body and the envelope's shape.
func (g *Gate) read(w http.ResponseWriter, r *http.Request, c *call) error {
	deadline := http.NewResponseController(w)
	if err := deadline.SetReadDeadline(time.Now().Add(g.cfg.ReadTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	const others = 8 << 10 // every other member together
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(g.cfg.RequestDataMost)*2+others))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return infinia.Errorf(infinia.TooLarge)
	}
	if err != nil {
		c.detail = "the body did not arrive whole and in time"
		return infinia.Errorf(infinia.Unavailable)
	}
	// The body is whole. Where its deadline passed while the call is still under way, net/http would end the call's context.
	if err := deadline.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	env, err := envelope.ParseRequest(body)
	if f, ok := errors.AsType[*envelope.FormatError](err); ok {
		c.env.AppID = f.AppID
		return envelopeFaults(f)
	}
	if err != nil {
		return err
	}
	if len(env.RequestData) > g.cfg.RequestDataMost {
		c.env.AppID = env.AppID
		return infinia.Errorf(infinia.TooLarge, infinia.FieldError{Field: "requestData", Code: infinia.TooLarge,
			Message: fmt.Sprintf("has more than %d characters", g.cfg.RequestDataMost)})
	}
	c.env = env
	return nil
}

// envelopeFaults names every wrong member of the envelope.
func envelopeFaults(f *envelope.FormatError) *infinia.Error {
	codes := map[envelope.FaultKind]infinia.Code{envelope.Missing: infinia.Missing, envelope.Format: infinia.Malformed, envelope.Range: infinia.OutOfRange}
	fields := make([]infinia.FieldError, len(f.Faults))
	code := codes[f.Faults[0].Kind]
	for i, fault := range f.Faults {
		fields[i] = infinia.FieldError{Field: fault.Field, Code: codes[fault.Kind], Message: fault.Rule}
		if fields[i].Code != code {
			code = infinia.InvalidParameters
		}
	}
	return infinia.Errorf(code, fields...)
}

// authenticate verifies the signature: one answer, at one cost, for every reason to refuse.
func (g *Gate) authenticate(ctx context.Context, c *call) error {
	keys := c.caller.Keys.PublicKeys() // without any, Verify costs the same
	select {
	case g.verify <- struct{}{}:
		defer func() { <-g.verify }()
	case <-ctx.Done():
		return infinia.Errorf(infinia.Unavailable)
	}
	which, err := g.rsa.verify(c.env.RequestData, c.env.Signature, keys...)
	switch {
	case c.caller.App.ID == 0:
		c.detail = "unknown app"
	case c.caller.App.Disabled != 0:
		c.detail = "disabled app"
	case len(c.caller.Keys.Client) == 0:
		c.detail = "the app has no valid client key"
	case err != nil:
		c.detail = g.explainSignature(ctx, c, keys, err)
	default:
		c.signer = c.caller.Keys.Client[which]
		return nil
	}
	return infinia.Errorf(infinia.NotAuthenticated)
}

// permit holds an authenticated request against the app's addresses, operations and rate.
func (g *Gate) permit(ctx context.Context, c *call) error {
	if !addressAllowed(c.caller.Settings.Addresses, c.address) {
		return infinia.Errorf(infinia.AddressNotAllowed)
	}
	if len(c.caller.Settings.Operations) > 0 && !slices.Contains(c.caller.Settings.Operations, string(c.o.Name)) {
		return infinia.Errorf(infinia.NotAllowed)
	}
	if len(c.caller.Keys.Platform) == 0 {
		return errors.New("the app has no valid platform key")
	}
	if !g.limits.app(ctx, c.caller.App.AppID, c.caller.Settings.BlocksPerSecond, g.blocks(c)) {
		return infinia.Errorf(infinia.TooManyRequests)
	}
	return nil
}

// blocks is how many private-key operations it takes to open the request with one key.
func (g *Gate) blocks(c *call) int {
	return envelope.Blocks(c.env.RequestData, c.caller.Keys.Platform[0].Public().(*rsa.PublicKey).Size())
}

func addressAllowed(ranges []string, address netip.Addr) bool {
	if len(ranges) == 0 {
		return true
	}
	for _, text := range ranges {
		if p, err := netip.ParsePrefix(text); err == nil && p.Contains(address) {
			return true
		}
		if a, err := netip.ParseAddr(text); err == nil && a.Unmap() == address {
			return true
		}
	}
	return false
}

// open decrypts and decodes.
func (g *Gate) open(c *call) error {
	plain, err := g.rsa.decrypt(c.env.RequestData, c.caller.Keys.Platform...)
	if err != nil {
		if c.detail = "requestData cannot be read"; g.cfg.Sandbox { // explaining takes its time, which must tell nobody why
			c.detail = envelope.Explain(err)
		}
		return infinia.Errorf(infinia.Unreadable)
	}
	content, err := op.ParseContent(plain)
	if err != nil {
		if c.detail = "requestData cannot be read"; g.cfg.Sandbox {
			c.detail = err.Error()
		}
		return infinia.Errorf(infinia.Unreadable)
	}
	c.plain, c.content = plain, content
	return nil
}

// respond makes the answer's envelope, and the plain text in it.
func (g *Gate) respond(c *call, reply any, err error) (resp envelope.Response, plain []byte) {
	code, failure := g.codeOf(c, err)
	resp = envelope.Response{AppID: c.env.AppID, Code: string(code), Message: code.Message()}
	var body any = reply
	if failure != nil {
		if len(failure.Fields) > 0 {
			resp.Message = shortMessage(failure)
		}
		body = infinia.ErrorBody{RequestNo: c.requestNo(), TraceID: c.trace, Errors: append([]infinia.FieldError{}, failure.Fields...)}
	}
	if c.content != nil && c.signer.Key != nil {
		var sealErr error
		if plain, sealErr = json.Marshal(body); sealErr == nil {
			resp.ResponseData, sealErr = g.rsa.encrypt(plain, c.signer.Key, c.caller.Settings.BlockBytes)
		}
		if sealErr == nil && c.caller.Settings.SignResponses {
			resp.Signature, sealErr = envelope.Sign(resp.SigningText(), c.caller.Keys.Platform[0])
		}
		if sealErr != nil { // the change is committed: say only that its outcome is open
			g.log.Error("seal the answer", "trace", c.trace, "err", sealErr)
			return envelope.Response{AppID: c.env.AppID, Code: string(infinia.Unavailable), Message: infinia.Unavailable.Message()}, nil
		}
		if code == infinia.Success {
			g.keyUsed(c)
		}
	} else if c.caller.Settings.SignResponses && c.signer.Key != nil && len(c.caller.Keys.Platform) > 0 {
		if s, err := envelope.Sign(resp.SigningText(), c.caller.Keys.Platform[0]); err == nil {
			resp.Signature = s
		}
	}
	return resp, plain
}

// codeOf is the one function that turns an error into a code. What is no infinia.Error is a fault of ours: the caller
// gets the code, the log the cause.
func (g *Gate) codeOf(c *call, err error) (infinia.Code, *infinia.Error) {
	if err == nil {
		return infinia.Success, nil
	}
	if e, ok := errors.AsType[*infinia.Error](err); ok {
		return e.Code, e
	}
	code := infinia.InternalFault
	switch {
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUnknown), errors.Is(err, store.ErrAbsent), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = infinia.Unavailable
	case errors.Is(err, store.ErrDatabase):
		code = infinia.DatabaseFault
	}
	c.detail = "fault of the server, see its log"
	g.log.Error("call failed", "trace", c.trace, "operation", c.o.Name, "app", c.env.AppID, "code", code, "err", err)
	return code, infinia.Errorf(code)
}

// shortMessage names the first wrong field, within the 64 characters of the envelope.
func shortMessage(e *infinia.Error) string {
	f := e.Fields[0]
	text := strings.TrimSpace(f.Field + " " + f.Message)
	if len(e.Fields) > 1 {
		text = fmt.Sprintf("%s (and %d more)", text, len(e.Fields)-1)
	}
	if utf8.RuneCountInString(text) <= 64 {
		return text
	}
	if text = strings.TrimSpace(f.Field + ": " + e.Code.Message()); utf8.RuneCountInString(text) <= 64 {
		return text
	}
	return e.Code.Message()
}

// keyUsed remembers that a client key has signed an accepted request: from then on webhooks are encrypted to it.
func (g *Gate) keyUsed(c *call) {
	if c.signer.Row.FirstUsedAt > 0 {
		return
	}
	err := g.cfg.Engine.DB.Do(context.Background(), store.Unit{Name: "key used", Keys: store.Keys{Apps: []string{c.caller.App.AppID}}, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return q.MarkKeyUsed(ctx, pgdb.MarkKeyUsedParams{ID: c.signer.Row.ID, FirstUsedAt: v.Now()})
	}})
	if err != nil {
		g.log.Error("mark a key as used", "app", c.caller.App.AppID, "err", err)
	}
}

func (g *Gate) explainSignature(ctx context.Context, c *call, keys []*rsa.PublicKey, err error) string {
	if !g.cfg.Sandbox {
		return "wrong signature"
	}
	var plain []byte
	if len(c.caller.Keys.Platform) > 0 && g.limits.app(ctx, c.caller.App.AppID, c.caller.Settings.BlocksPerSecond, g.blocks(c)) { // as if it were a call
		plain, _ = envelope.Decrypt(c.env.RequestData, c.caller.Keys.Platform...)
	}
	if text := envelope.ExplainSignature(c.env.RequestData, c.env.Signature, plain, keys...); text != "" {
		return text
	}
	return envelope.Explain(err)
}

func (c *call) requestNo() string {
	if n := c.content["requestNo"]; n != nil && op.RequestNoForm(*n) {
		return *n
	}
	return ""
}

// Address is where a request comes from; an unreadable one is the zero address, which no list allows. Behind a proxy it is
// the last address that stands in X-Forwarded-For, in whichever of its lines: the one that the proxy itself has added.
func (g *Gate) Address(r *http.Request) netip.Addr {
	if g.cfg.BehindProxy {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		a, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1]))
		if err != nil {
			return netip.Addr{}
		}
		return a.Unmap()
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// statusOf is the HTTP status of a request that did not reach the envelope.
func statusOf(code infinia.Code) int {
	switch code {
	case infinia.TooLarge:
		return http.StatusRequestEntityTooLarge
	case infinia.Unavailable:
		return http.StatusRequestTimeout
	case infinia.InternalFault, infinia.DatabaseFault:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

func traceID() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
