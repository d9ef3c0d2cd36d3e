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
	"runtime/debug"
	"slices"
	"sync"

	"github.com/openinfinia/infinia/envelope"
)

// Notification is the content of a webhook. Without Event it says that a seller was frozen or resumed [D].
type Notification struct {
	RequestNo string       `json:"requestNo"` // the event's own number, never used for other content
	SellerID  string       `json:"sellerId"`
	Status    SellerStatus `json:"status"`          // ACTIVE or FROZEN
	Event     string       `json:"event,omitempty"` // names another event, which an app gets only if it asked for it [O]

	// Content is the whole content as it was sent, for the members of other events.
	Content json.RawMessage `json:"-"`
}

// Deduplicator sees to it that each notification is handled once, however often it is delivered. The default one
// remembers the last 10,000 in memory. A program that must not handle one again after a restart, or that runs on several
// machines, brings one over its database, where Once can put requestNo and what handle changes into one transaction.
type Deduplicator interface {
	// Once calls handle, unless that succeeded under this requestNo before, and returns handle's error. After an
	// error the next Once calls handle again. Of several at the same time under one requestNo only one calls handle;
	// the others may wait for it or fail.
	Once(ctx context.Context, requestNo string, handle func(context.Context) error) error
}

// WebhookOption changes a webhook handler from its default.
type WebhookOption func(*webhook)

// WithDeduplicator sets what remembers the notifications that were handled.
func WithDeduplicator(d Deduplicator) WebhookOption { return func(w *webhook) { w.once = d } }

// WithLogger sets where a notification that was not answered SUCCESS is logged with its reason, [slog.Default] by default.
// Of its content nothing but the requestNo is logged, unless handle's own error says more.
func WithLogger(l *slog.Logger) WebhookOption { return func(w *webhook) { w.log = l } }

// NewWebhookHandler receives the notifications for an app at its callback URL: it checks that one of platformKeys signed
// it [O], opens it with the first of keys that can, and calls handle with its content. It answers SUCCESS, which ends the
// delivery [D], when handle returned nil, now or at an earlier delivery. If handle fails or panics, the platform delivers
// the notification again, up to 5 times [D].
//
// Handle should be done in a few seconds; its context ends when the platform hangs up. A notification bears no time, and
// one delivered again, by hand or by somebody who recorded it, is told from a new one by the [Deduplicator] alone: what
// must be right to the minute should ask AccountBindingQuery.
//
// It panics when something is missing.
func NewWebhookHandler(appID string, keys []envelope.PrivateKey, platformKeys []*rsa.PublicKey,
	handle func(context.Context, Notification) error, opts ...WebhookOption) http.Handler {
	w := &webhook{
		appID:        appID,
		keys:         slices.Clone(keys),
		platformKeys: slices.Clone(platformKeys),
		handle:       handle,
		once:         &memory{limit: 10_000},
		log:          slog.Default(),
	}
	for _, opt := range opts {
		opt(w)
	}
	if appID == "" || len(keys) == 0 || slices.Contains(keys, nil) || len(platformKeys) == 0 ||
		slices.Contains(platformKeys, nil) || handle == nil || w.once == nil || w.log == nil {
		panic("infinia: a webhook handler needs an appId, keys, platform keys and a handle")
	}
	return w
}

type webhook struct {
	appID        string
	keys         []envelope.PrivateKey
	platformKeys []*rsa.PublicKey
	handle       func(context.Context, Notification) error
	once         Deduplicator
	log          *slog.Logger
}

// ServeHTTP answers success as documented: a 2xx with the body exactly SUCCESS [D].
func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		rw.Header().Set("Allow", http.MethodPost)
		http.Error(rw, "only POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		w.refuse(rw, r, status, "the body cannot be read", "", err)
		return
	}
	n, err := w.open(body)
	switch {
	case errors.Is(err, envelope.ErrSignature):
		w.refuse(rw, r, http.StatusUnauthorized, "not authenticated", "", err)
		return
	case err != nil:
		w.refuse(rw, r, http.StatusBadRequest, "not a notification for this app", "", err)
		return
	}
	err = w.once.Once(r.Context(), n.RequestNo, func(ctx context.Context) error { return w.call(ctx, n) })
	if err != nil {
		w.refuse(rw, r, http.StatusInternalServerError, "not handled, deliver it again", n.RequestNo, err)
		return
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(rw, "SUCCESS") // if that does not arrive, the notification comes again
}

// open reads an envelope: signature first, then decryption. Its errors quote nothing of the content.
func (w *webhook) open(body []byte) (Notification, error) {
	env, err := envelope.ParseNotification(body)
	if err != nil {
		return Notification{}, err
	}
	if _, err := envelope.Verify(env.RequestData, env.Signature, w.platformKeys...); err != nil {
		return Notification{}, err
	}
	if env.AppID != w.appID {
		return Notification{}, fmt.Errorf("it is for the app %q", env.AppID)
	}
	plain, err := envelope.Decrypt(env.RequestData, w.keys...)
	if err != nil {
		return Notification{}, err
	}
	n := Notification{Content: plain}
	switch err := json.Unmarshal(plain, &n); {
	case err != nil:
		return Notification{}, errors.New("the content is not a JSON object of texts")
	case n.RequestNo == "":
		return Notification{}, errors.New("the content has no requestNo")
	case n.Event == "" && (n.SellerID == "" || n.Status != SellerActive && n.Status != SellerIsFrozen):
		return Notification{}, errors.New("the content has no sellerId, or another status than ACTIVE and FROZEN")
	}
	return n, nil
}

// call makes an error of a panic, which the Deduplicator must see as a failure.
func (w *webhook) call(ctx context.Context, n Notification) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("handle panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return w.handle(ctx, n)
}

func (w *webhook) refuse(rw http.ResponseWriter, r *http.Request, status int, reason, requestNo string, err error) {
	w.log.WarnContext(r.Context(), "webhook: "+reason, "status", status, "requestNo", requestNo, "error", err)
	http.Error(rw, reason, status)
}

// memory is the Deduplicator of one process.
type memory struct {
	limit int

	mu   sync.Mutex
	runs map[string]*run
	done []string // what succeeded, oldest first
}

// run is one call of handle; err may be read when ended is closed.
type run struct {
	ended chan struct{}
	err   error
}

func (m *memory) Once(ctx context.Context, requestNo string, handle func(context.Context) error) error {
	m.mu.Lock()
	if earlier, ok := m.runs[requestNo]; ok {
		m.mu.Unlock()
		select {
		case <-earlier.ended:
			return earlier.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if m.runs == nil {
		m.runs = map[string]*run{}
	}
	this := &run{ended: make(chan struct{}), err: errors.New("handle did not return")}
	m.runs[requestNo] = this
	m.mu.Unlock()

	defer m.end(requestNo, this) // deferred for a handle that ends its goroutine
	this.err = handle(ctx)
	return this.err
}

func (m *memory) end(requestNo string, r *run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(r.ended)
	if r.err != nil {
		delete(m.runs, requestNo)
		return
	}
	m.done = append(m.done, requestNo)
	if len(m.done) > m.limit {
		delete(m.runs, m.done[0])
		m.done = m.done[1:]
	}
}
