// Package admin is the operator's JSON API under /admin/v1. Console and command line act through it, so that whatever a
// page does, a script can do.
//
// It turns a call into a unit of the store or into a snapshot: what a binding, a share or a posting means is told by the
// packages below. It knows operators by their tokens and nothing of envelopes, pages or terminals.
package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

// Config is what the API needs.
type Config struct {
	Engine     *op.Engine
	Importer   *trade.Importer
	Log        *slog.Logger
	Tokens     map[string]string // by the operator's name; an empty token opens nothing
	Sandbox    *Sandbox          // nil in production: its verbs do not exist there
	KeyBits    int               // of keys that the server generates; default 4096
	Production bool              // callback URLs have to be https
}

const (
	base        = "/admin/v1"
	description = base + "/openapi.json"
)

type server struct {
	cfg    Config
	db     *store.DB
	api    huma.API
	mux    *http.ServeMux
	tokens tokens
}

// New makes the handler; it serves the paths that begin with /admin/v1/. The description in OpenAPI 3.1 is
// /admin/v1/openapi.json, the only thing to be had without a token.
func New(cfg Config) http.Handler {
	if cfg.KeyBits == 0 {
		cfg.KeyBits = 4096
	}
	s := &server{cfg: cfg, db: cfg.Engine.DB, mux: http.NewServeMux(), tokens: tokensOf(cfg)}
	s.api = humago.New(s.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Infinia operator API", Version: "1"},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{tidy},
	})
	for _, register := range []func(*server){apps, keys, deposits, sellers, bindings, files, shares, deliveries, books, traces, audits, calls} {
		register(s)
	}
	if cfg.Sandbox != nil {
		sandbox(s)
	}
	described := sync.OnceValues(func() ([]byte, error) { return json.Marshal(s.api.OpenAPI()) })
	s.mux.HandleFunc("GET "+description, func(w http.ResponseWriter, r *http.Request) {
		text, err := described()
		if err != nil {
			writeProblem(w, http.StatusInternalServerError, "the description cannot be written")
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text) // the caller went away
	})
	s.mux.HandleFunc(base+"/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusNotFound, "there is no such call; "+description+" lists them")
	})
	return s
}

// caller is who called, and what else has to be known wherever the call goes.
type caller struct {
	name, trace string
	production  bool
}

type callerKey struct{}

func callerOf(ctx context.Context) caller { return ctx.Value(callerKey{}).(caller) }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := caller{trace: traceID(), production: s.cfg.Production}
	w.Header().Set(infinia.TraceHeader, c.trace)
	w.Header().Set("Cache-Control", "no-store")
	if c.name = s.tokens.operator(r); c.name == "" && r.URL.Path != description {
		unauthorized(w)
		return
	}
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
}

// Authorized lets requests with an operator's token through to next.
func Authorized(cfg Config, next http.Handler) http.Handler {
	tokens := tokensOf(cfg)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tokens.operator(r) == "" {
			unauthorized(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	writeProblem(w, http.StatusUnauthorized, "a valid token is needed: Authorization: Bearer <token>")
}

// tokens are the operators' tokens, as hashes.
type tokens []struct {
	name string
	hash [sha256.Size]byte
}

func tokensOf(cfg Config) tokens {
	var all tokens
	for _, name := range slices.Sorted(maps.Keys(cfg.Tokens)) {
		if text := cfg.Tokens[name]; text != "" {
			all = append(all, struct {
				name string
				hash [sha256.Size]byte
			}{name, sha256.Sum256([]byte(text))})
		}
	}
	return all
}

// operator is the name behind the request's token, or nothing. Each token is compared, in constant time.
func (all tokens) operator(r *http.Request) (name string) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(text)))
	for _, t := range all {
		if subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1 {
			name = t.name
		}
	}
	return name
}

func traceID() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// answer is how huma wants an answer.
type answer[O any] struct{ Body O }

// handle registers a call. The operation's id, such as "freeze-seller", also names it in the description.
func handle[I, O any](s *server, method, path, id, summary string, fn func(ctx context.Context, in *I) (O, error)) {
	huma.Register(s.api, operation(method, path, id, summary), func(ctx context.Context, in *I) (out *answer[O], err error) {
		defer s.recovered(ctx, &err)
		body, err := fn(ctx, in)
		if err != nil {
			return nil, s.fault(ctx, err)
		}
		return &answer[O]{body}, nil
	})
}

func operation(method, path, id, summary string) huma.Operation {
	noun, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return huma.Operation{Method: method, Path: base + path, OperationID: id, Summary: summary, Tags: []string{noun},
		BodyReadTimeout: time.Minute, // when it ends the call is cancelled as well, and making a key takes its time
		Errors: []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity,
			http.StatusInternalServerError, http.StatusServiceUnavailable}}
}

func (s *server) recovered(ctx context.Context, err *error) {
	if p := recover(); p != nil {
		*err = s.fault(ctx, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

// fault is the one place that turns an error into an answer. Of one that nobody foresaw the caller gets the trace id, the
// log the cause.
func (s *server) fault(ctx context.Context, err error) error {
	if e, ok := errors.AsType[huma.StatusError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*infinia.Error](err); ok {
		status := http.StatusConflict
		if e.Code == infinia.NotFound {
			status = http.StatusNotFound
		}
		details := make([]error, len(e.Fields))
		for i, f := range e.Fields {
			details[i] = &huma.ErrorDetail{Location: "body." + f.Field, Message: f.Message}
		}
		return huma.NewError(status, e.Message, details...)
	}
	switch {
	case store.NotFound(err):
		return huma.Error404NotFound("there is none with this id")
	case errors.Is(err, op.ErrState), errors.Is(err, outbox.ErrNotReplayable), errors.Is(err, ledger.ErrShort):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUnknown), errors.Is(err, store.ErrAbsent), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return huma.Error503ServiceUnavailable("try again later, under the same reference")
	}
	c := callerOf(ctx)
	s.cfg.Log.Error("operator's call failed", "trace", c.trace, "operator", c.name, "err", err)
	return huma.Error500InternalServerError("internal fault, see the server's log under trace " + c.trace)
}

// conflict refuses an act because of what one field of it says.
func conflict(field, message string) error {
	return huma.Error409Conflict(field+" "+message, &huma.ErrorDetail{Location: "body." + field, Message: message})
}

// tidy takes what was sent out of a validation's answer, since huma repeats it, keys included; and it has a missing field
// named in the same place as a wrong one.
func tidy(_ huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*huma.ErrorModel); ok {
		for _, d := range e.Errors {
			d.Value = nil
			if name, ok := strings.CutPrefix(d.Message, missing); ok {
				name, _, _ = strings.Cut(name, " ")
				d.Location, d.Message = d.Location+"."+name, "is mandatory"
			}
		}
	}
	return v, nil
}

var missing, _, _ = strings.Cut(validation.MsgExpectedRequiredProperty, "%s")

func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}) // the caller went away
}

// faults collects what is wrong with a body beyond its schema, each under its field's path.
type faults struct {
	at   string
	errs []error
}

func (f *faults) add(field, message string) {
	f.errs = append(f.errs, &huma.ErrorDetail{Location: f.at + "." + field, Message: message})
}

// read asks the last committed state.
func read[T any](ctx context.Context, s *server, ask func(q *pgdb.Queries) (T, error)) (answer T, err error) {
	err = s.db.Read(ctx, func(q *pgdb.Queries) error {
		answer, err = ask(q)
		return err
	})
	return answer, err
}
