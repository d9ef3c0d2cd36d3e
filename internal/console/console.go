// Package console is the web pages: the hosted page where a seller confirms a binding, the download of error files, and the
// start page.
//
// Browsers enter here. A page decides nothing: it shows what op opened and hands op the answer. It asks the
// database nothing by itself, and it never logs an address, because the token in it is the secret.
package console

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/a-h/templ"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/trade"
)

// Config is what the pages are made of; all but the flags is needed.
type Config struct {
	Engine   *op.Engine
	Importer *trade.Importer
	Log      *slog.Logger
	Sandbox  bool // the pages say that no real money moves
	Secure   bool // browsers come by HTTPS alone: Secure cookies, HSTS

	Address func(*http.Request) netip.Addr // where a browser calls from
}

type console struct {
	Config
	guard guard
}

// New makes the handler of all pages.
func New(cfg Config) http.Handler {
	c := &console{Config: cfg, guard: newGuard(cfg.Engine.PublicURL, cfg.Secure)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.start)
	mux.HandleFunc("GET /b/{token}", c.showBinding)
	mux.HandleFunc("POST /b/{token}", c.answerBinding)
	mux.HandleFunc("GET /errors/{token}", c.errorFile)
	mux.HandleFunc("GET /static/{file}", staticFile)
	return c.strict(mux)
}

// strict sets what holds for every answer.
func (c *console) strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		// The address holds the token, so that no other site may see it. Not no-referrer: browsers then send forms with
		// Origin: null, and those that do not say Sec-Fetch-Site could not be told from another site's.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if c.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// page is what every page has around its content.
type page struct {
	*words
	Sandbox bool
}

func (c *console) page(r *http.Request) page {
	return page{words: wordsFor(r), Sandbox: c.Sandbox}
}

func (c *console) render(w http.ResponseWriter, r *http.Request, status int, content templ.Component) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := content.Render(r.Context(), w); err != nil {
		c.Log.Debug("page not delivered", "error", err)
	}
}

func (c *console) start(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusOK, startPage(c.page(r)))
}

// notice is a page that only tells something.
type notice struct {
	Kind  kind
	Title string
	Text  string
	Back  *backlink // nil: the seller has nowhere to return to
	Close bool      // the seller is done here
}

type kind string

const (
	good kind = "good"
	wait kind = "wait"
	bad  kind = "bad"
)

// refuse answers with the page for an error of op; dead and expired are the ones for a link of this kind.
func (c *console) refuse(w http.ResponseWriter, r *http.Request, err error, dead, expired notice) {
	p := c.page(r)
	status, n := http.StatusInternalServerError, p.Fault
	if e, ok := errors.AsType[*infinia.Error](err); ok && e.Code == infinia.NotFound {
		status, n = http.StatusNotFound, dead
	} else if ok && e.Code == infinia.Expired {
		status, n = http.StatusGone, expired
	} else if errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrAbsent) || errors.Is(err, store.ErrUnknown) || errors.Is(err, context.Canceled) {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	} else {
		c.Log.Error("page failed", "error", err)
	}
	c.render(w, r, status, noticePage(p, n))
}

//go:embed static
var static embed.FS

// styleURL changes with the style, so that browsers may keep it for ever.
var styleURL = func() string {
	css, err := fs.ReadFile(static, "static/console.css")
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(css)
	return "/static/console.css?v=" + hex.EncodeToString(sum[:6])
}()

func staticFile(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeFileFS(w, r, static, "static/"+r.PathValue("file"))
}
