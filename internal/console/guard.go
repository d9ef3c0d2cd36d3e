package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
)

// guard makes sure that an answer was given on the page and nowhere else. What keeps off whom:
//
//   - Who does not know the link cannot address the page: its token is 128 random bits.
//   - The platform knows the link, for it hands it to the seller. It could put the form into a page of its own and have the
//     seller's browser send it, unseen: then the evidence would show the seller's address. Browsers say where a form comes
//     from (Sec-Fetch-Site, or Origin), and http.CrossOriginProtection refuses any other place than this one.
//   - For a browser that says neither: the field of the form is a MAC of the link under a cookie that other sites can
//     neither read, nor have sent with their forms (SameSite), nor set from a neighbouring host (the prefix __Host-).
//   - A frame around the page, to steal a click, is refused by frame-ancestors.
//
// Nothing here keeps the platform from opening the link on a machine of its own: what the evidence says is for the review.
type guard struct {
	origins *http.CrossOriginProtection
	cookie  http.Cookie
}

func newGuard(publicURL string, secure bool) guard {
	g := guard{
		origins: http.NewCrossOriginProtection(),
		cookie:  http.Cookie{Name: "infinia-page", Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode},
	}
	if secure {
		g.cookie.Name = "__Host-" + g.cookie.Name
	}
	// A proxy in front may have changed Host, which Origin would be held against.
	if u, err := url.Parse(publicURL); err == nil && u.Host != "" {
		if err := g.origins.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			panic(err) // scheme and host are all that it wants
		}
	}
	return g
}

// field makes the hidden field of the page that the token opens, and gives the browser its cookie if it sent none. A seller
// who comes from another site sends none, and then a page opened earlier has to be sent twice.
func (g guard) field(w http.ResponseWriter, r *http.Request, token string) string {
	cookie, err := r.Cookie(g.cookie.Name)
	if err != nil || cookie.Value == "" {
		fresh := g.cookie
		fresh.Value = rand.Text()
		http.SetCookie(w, &fresh)
		cookie = &fresh
	}
	return fieldOf(cookie.Value, token)
}

// sameOrigin says whether the browser sent the request from a page of this server.
func (g guard) sameOrigin(r *http.Request) bool { return g.origins.Check(r) == nil }

// own says whether the form came with the field that the page of this token had.
func (g guard) own(r *http.Request, token string) bool {
	cookie, err := r.Cookie(g.cookie.Name)
	return err == nil && cookie.Value != "" && hmac.Equal([]byte(r.PostForm.Get("page")), []byte(fieldOf(cookie.Value, token)))
}

func fieldOf(secret, token string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(token))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
