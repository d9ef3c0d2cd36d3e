package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// question is the page that asks the seller.
type question struct {
	op.Link
	Token   string // the guard's field
	Minutes int64  // that the link can still be used
	Fault   string // what was wrong with the answer that was sent
}

// showBinding only shows: mail scanners open links, and browsers open them ahead of a click.
func (c *console) showBinding(w http.ResponseWriter, r *http.Request) {
	l, ok := c.openLink(w, r)
	if !ok {
		return
	}
	if l.Binding.State != op.BindingAwaitingSeller {
		p := c.page(r)
		c.render(w, r, http.StatusOK, noticePage(p, outcome(p, l)))
		return
	}
	c.ask(w, r, http.StatusOK, l, "")
}

// answerBinding spends the link. Its answer is a page and not a redirect to the backlink: Chromium holds every redirect
// that follows a form against form-action, the app's own further ones included, which nobody can list beforehand. The page
// goes on by Refresh, to which form-action does not apply, and has the link for whoever does not follow it. The delay is
// zero, so that the page is left out of the browser's history and nobody is hurried in reading it.
func (c *console) answerBinding(w http.ResponseWriter, r *http.Request) {
	p := c.page(r)
	if !c.guard.sameOrigin(r) {
		c.render(w, r, http.StatusForbidden, noticePage(p, p.Foreign))
		return
	}
	l, ok := c.openLink(w, r)
	if !ok {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	if r.ParseForm() != nil {
		c.ask(w, r, http.StatusBadRequest, l, p.Choose)
		return
	}
	token, action := r.PathValue("token"), r.PostForm.Get("action")
	var err error
	switch {
	case l.Binding.State != op.BindingAwaitingSeller:
		// A double click: the browser shows the answer to the second one.
	case !c.guard.own(r, token):
		c.ask(w, r, http.StatusForbidden, l, p.Stale)
		return
	case action == "confirm" && r.PostForm.Get("agree") != "yes":
		c.ask(w, r, http.StatusUnprocessableEntity, l, p.Untick)
		return
	case action == "confirm":
		l.Binding, err = c.Engine.Confirm(r.Context(), token, op.Consent{
			TextVersion: consentVersion,
			Language:    p.Tag,
			Address:     c.Address(r).String(),
			UserAgent:   cut(r.UserAgent(), 512),
		})
	case action == "decline":
		l.Binding, err = c.Engine.Decline(r.Context(), token)
	default:
		c.ask(w, r, http.StatusBadRequest, l, p.Choose)
		return
	}
	if err != nil && !errors.Is(err, op.ErrState) { // ErrState: answered meanwhile, the binding tells how
		c.refuse(w, r, err, p.DeadLink, p.ExpiredLink)
		return
	}
	n := outcome(p, l)
	if n.Back != nil {
		w.Header().Set("Refresh", "0; url="+n.Back.URL)
	}
	c.render(w, r, http.StatusOK, noticePage(p, n))
}

// openLink opens the request's link, or answers why it cannot be used.
func (c *console) openLink(w http.ResponseWriter, r *http.Request) (op.Link, bool) {
	l, err := c.Engine.OpenLink(r.Context(), r.PathValue("token"))
	if err == nil && l.Expired {
		err = infinia.Errorf(infinia.Expired)
	}
	if err != nil {
		p := c.page(r)
		c.refuse(w, r, err, p.DeadLink, p.ExpiredLink)
		return l, false
	}
	return l, true
}

func (c *console) ask(w http.ResponseWriter, r *http.Request, status int, l op.Link, fault string) {
	left := store.Time(l.Binding.LinkExpiresAt).Sub(c.Engine.DB.Clock.Now())
	q := question{Link: l, Token: c.guard.field(w, r, r.PathValue("token")), Fault: fault,
		Minutes: int64((left + time.Minute - 1) / time.Minute)}
	c.render(w, r, status, bindingPage(c.page(r), q))
}

// outcome tells how a binding stands that the seller cannot answer any more. Why an operator decided so is the platform's
// to tell, it gets the reason.
func outcome(p page, l op.Link) notice {
	var n notice
	switch b := l.Binding; {
	case b.State == op.BindingAwaitingReview:
		n = p.Review
	case b.State == op.BindingSuccess:
		n = p.Bound
	case b.State == op.BindingRevoked:
		n = p.Revoked
	case b.ConfirmedAt == 0:
		n = p.Declined
	default:
		n = p.NotBound
	}
	n.Text = fmt.Sprintf(n.Text, plain(l.AppName))
	n.Back, n.Close = backlinkOf(l.Binding), true
	return n
}

// backlink leads back to the platform. What it says proves nothing: the status query does.
type backlink struct {
	URL  string
	Host string
}

// backlinkOf adds requestNo and status behind the query that the app's address has.
func backlinkOf(b pgdb.Binding) *backlink {
	u, err := url.Parse(b.BacklinkURL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil
	}
	added := "requestNo=" + url.QueryEscape(b.RequestNo) + "&status=" + url.QueryEscape(string(op.BindingStatus(b.State)))
	if u.RawQuery != "" {
		added = printable(u.RawQuery) + "&" + added
	}
	u.RawQuery = added
	return &backlink{URL: u.String(), Host: plain(u.Host)}
}

// printable escapes what a query must not have in a header, and leaves the rest as the app wrote it.
func printable(query string) string {
	var b strings.Builder
	for _, c := range []byte(query) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"'<>`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// certTail is what is shown of a certificate number: its last four characters, but at most half of it.
func certTail(no string) string {
	r := []rune(no)
	return string(r[len(r)-min(4, len(r)/2):])
}

// aroundHost splits an address at its host, the part that tells whose it is.
func aroundHost(address string) (before, host, after string) {
	scheme, rest, _ := strings.Cut(address, "://")
	end := strings.IndexAny(rest, `/?#\`)
	if end < 0 {
		end = len(rest)
	}
	return scheme + "://", rest[:end], rest[end:]
}

// plain takes out of a text what would let it reorder the words around it, as in a name that reads as another one.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, text)
}

// cut keeps at most n bytes of whole characters.
func cut(text string, n int) string {
	return strings.ToValidUTF8(text[:min(n, len(text))], "")
}
