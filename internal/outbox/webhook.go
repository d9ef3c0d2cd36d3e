package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// WebhookConfig says how webhooks are sent.
type WebhookConfig struct {
	Log          *slog.Logger // tries that fail; nil: slog.Default()
	Metrics      prometheus.Registerer
	AllowPrivate bool              // the sandbox: endpoints may be on private addresses
	AllowNets    []netip.Prefix    // private ranges that production allows nevertheless
	Transport    http.RoundTripper // how endpoints are reached; nil: over the network, where the two above hold
	RetryAfter   []time.Duration
	Timeout      time.Duration
	MostAtOnce   int
}

// Webhooks delivers events to the apps' callback URLs.
type Webhooks struct {
	db     *store.DB
	cfg    WebhookConfig
	client *http.Client

	tries *prometheus.CounterVec

	atOnce chan struct{} // places for deliveries in flight
	slow   chan struct{} // places for those whose endpoint was slow at the last try

	mu      sync.Mutex
	wasSlow map[string]bool // guarded by mu; by app
}

// NewWebhooks makes a sender. Zero values of the configuration are the contract's: retries after 1, 5, 15, 60 and 360
// minutes, 10 s for an answer, 256 in flight of which at most a quarter go to slow endpoints.
func NewWebhooks(db *store.DB, cfg WebhookConfig) *Webhooks {
	if cfg.RetryAfter == nil {
		cfg.RetryAfter = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.MostAtOnce == 0 {
		cfg.MostAtOnce = 256
	}
	w := &Webhooks{db: db, cfg: cfg, atOnce: make(chan struct{}, cfg.MostAtOnce), slow: make(chan struct{}, max(1, cfg.MostAtOnce/4)),
		wasSlow: map[string]bool{}}
	w.tries = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "infinia_webhooks_total", Help: "Tries to deliver a webhook: delivered, failed and to be tried again, dead after the last."},
		[]string{"outcome"})
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(w.tries)
	}
	if cfg.Transport == nil {
		dialer := &net.Dialer{Timeout: cfg.Timeout, Control: w.checkAddress}
		cfg.Transport = &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 16}
	}
	w.client = &http.Client{
		Transport: cfg.Transport,
		Timeout:   cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect is no success, and may lead anywhere
		},
	}
	return w
}

// errPrivate is what an attempt at a private address records.
var errPrivate = errors.New("private addresses are refused; infinia serve --webhook-net lists some")

// checkAddress runs after the name was resolved, for each address that is about to be dialled, so that a name cannot lead
// to a private address.
func (w *Webhooks) checkAddress(_, address string, _ syscall.RawConn) error {
	if w.cfg.AllowPrivate {
		return nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := ap.Addr().Unmap()
	for _, n := range w.cfg.AllowNets {
		if n.Contains(ip) {
			return nil
		}
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return errPrivate
	}
	for _, n := range notPublic {
		if n.Contains(ip) {
			return errPrivate
		}
	}
	return nil
}

// notPublic are further ranges that no public endpoint has: special ones, and those of IPv6 that may hide a private IPv4
// address.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// Deliver tries a delivery once; it is the Work of the webhook queues.
func (w *Webhooks) Deliver(ctx context.Context, t pgdb.Task) error {
	var d pgdb.Delivery
	var app pgdb.App
	var keys store.AppKeys
	if err := w.db.Read(ctx, func(q *pgdb.Queries) (err error) {
		if d, err = q.GetDelivery(ctx, t.RecordID); err != nil {
			return err
		}
		if app, err = q.GetApp(ctx, d.AppID); err != nil {
			return err
		}
		keys, err = w.db.KeysOf(ctx, q, d.AppID)
		return err
	}); err != nil {
		return fmt.Errorf("delivery %d: %w", t.RecordID, err)
	}
	var a pgdb.DeliveryAttempt
	if d.State == Pending {
		release, err := w.place(ctx, d.AppID)
		if err != nil {
			return err
		}
		a = w.try(ctx, app, keys, d)
		release()
		if ctx.Err() != nil {
			return ctx.Err() // the server stops: nothing is known, the try does not count
		}
	}
	if a.Fault != "" {
		w.cfg.Log.Warn("webhook not taken", "app", d.AppID, "requestNo", d.RequestNo, "attempt", a.Attempt, "last", int(a.Attempt) > len(w.cfg.RetryAfter), "fault", a.Fault)
	}
	err := w.db.Do(ctx, store.Unit{
		Name:  "webhook result",
		Keys:  store.Keys{Apps: []string{d.AppID}, Deliveries: []int64{d.ID}},
		Judge: func(v *store.View) error { return w.result(v, t, a) },
	})
	if err == nil && a.Attempt > 0 {
		outcome := "delivered"
		if a.Fault != "" {
			outcome = "failed"
			if int(a.Attempt) > len(w.cfg.RetryAfter) {
				outcome = "dead"
			}
		}
		w.tries.WithLabelValues(outcome).Inc()
	}
	return err
}

// result books a try. A delivery that was superseded meanwhile stays so, unless the endpoint has taken it.
func (w *Webhooks) result(v *store.View, t pgdb.Task, a pgdb.DeliveryAttempt) error {
	d, ok := v.Deliveries.Get(t.RecordID)
	if !ok {
		return fmt.Errorf("delivery %d is gone", t.RecordID)
	}
	v.DropTask(t.ID)
	if a.Attempt == 0 { // it was not pending, so it was not tried
		return nil
	}
	if d.Attempts >= a.Attempt { // another node had the queue meanwhile, and has booked a try of its own and what follows
		if a.Fault != "" || d.State == Delivered {
			return nil
		}
		a.Attempt = d.Attempts + 1
	}
	v.AddAttempt(a)
	d.Attempts = a.Attempt
	switch {
	case a.Fault == "":
		d.State, d.FinishedAt = Delivered, v.Now()
	case d.State != Pending:
	case int(a.Attempt) > len(w.cfg.RetryAfter):
		d.State, d.FinishedAt = Dead, v.Now()
	default:
		d.DueAt = v.Now() + w.cfg.RetryAfter[a.Attempt-1].Milliseconds()
		v.AddTask(t.Queue, d.ID, d.DueAt)
	}
	v.Deliveries.Put(d.ID, d)
	return nil
}

// place waits for a place in flight; an app whose endpoint was slow needs one of the few places for slow ones as well.
func (w *Webhooks) place(ctx context.Context, appID string) (release func(), err error) {
	w.mu.Lock()
	slow := w.wasSlow[appID]
	w.mu.Unlock()
	if slow {
		select {
		case w.slow <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	select {
	case w.atOnce <- struct{}{}:
	case <-ctx.Done():
		if slow {
			<-w.slow
		}
		return nil, ctx.Err()
	}
	return func() {
		<-w.atOnce
		if slow {
			<-w.slow
		}
	}, nil
}

const (
	slowAfter   = time.Second
	answerBytes = 512 // of an answer are kept
)

// try posts a delivery once and says what came of it; Fault is empty when the endpoint took it.
func (w *Webhooks) try(ctx context.Context, app pgdb.App, keys store.AppKeys, d pgdb.Delivery) pgdb.DeliveryAttempt {
	start := time.Now()
	a := pgdb.DeliveryAttempt{DeliveryID: d.ID, Attempt: d.Attempts + 1, At: store.Millis(w.db.Clock.Now())}
	status, answer, err := w.post(ctx, app, keys, d)
	took := time.Since(start)
	w.mu.Lock()
	w.wasSlow[d.AppID] = took > slowAfter
	w.mu.Unlock()
	a.TookMS, a.HTTPStatus, a.Answer = took.Milliseconds(), int64(status), printable(answer)
	switch {
	case err != nil:
		a.Fault = fault(err)
	case status < 200 || status > 299:
		a.Fault = fmt.Sprintf("HTTP status %d, must be 2xx", status)
	case string(answer) != "SUCCESS":
		a.Fault = "the body must be exactly SUCCESS, upper case, no white space"
	}
	return a
}

func (w *Webhooks) post(ctx context.Context, app pgdb.App, keys store.AppKeys, d pgdb.Delivery) (status int, answer []byte, err error) {
	set, err := store.SettingsOf(app)
	if err != nil {
		return 0, nil, err
	}
	if set.CallbackURL == "" {
		return 0, nil, errors.New("the app has no callback URL")
	}
	body, err := seal(app.AppID, keys, set, d)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, set.CallbackURL, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("the callback URL is not valid")
	}
	req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	req.Header.Set("User-Agent", "infinia")
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, answerBytes+1))
	return resp.StatusCode, answer, err
}

// seal puts a delivery into the request envelope: encrypted to the client's primary key, signed by the oldest platform
// key that is still valid, so that a receiver that knows one key can verify until it retires.
func seal(appID string, keys store.AppKeys, set store.Settings, d pgdb.Delivery) ([]byte, error) {
	to, err := keys.Primary()
	if err != nil {
		return nil, err
	}
	if len(keys.Platform) == 0 {
		return nil, errors.New("the app has no valid platform key")
	}
	data, err := envelope.Encrypt([]byte(d.Content), to, set.BlockBytes)
	if err != nil {
		return nil, err
	}
	signature, err := envelope.Sign(data, keys.Platform[0])
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope.Request{Version: "1.0", AppID: appID, DataType: "JSON", RequestData: data, Signature: signature})
}

// fault is a short reason without the URL, which may hold a secret.
func fault(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, errPrivate):
		return errPrivate.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	}
	text := err.Error()
	if i := strings.LastIndex(text, `": `); i >= 0 { // net/url's error begins with the method and the URL
		text = text[i+3:]
	}
	return text
}

// printable is what may be kept and shown of an answer.
func printable(answer []byte) string {
	if len(answer) > answerBytes {
		answer = answer[:answerBytes]
	}
	if !utf8.Valid(answer) {
		return fmt.Sprintf("%d bytes that are not text", len(answer))
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return '\ufffd'
		}
		return r
	}, string(answer))
}
