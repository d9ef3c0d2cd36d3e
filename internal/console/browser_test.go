package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/openinfinia/infinia/internal/needs"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/storetest"
)

// surfer is a real browser before the pages, with the platform that it returns to.
type surfer struct {
	*rig
	browser context.Context
	posts   atomic.Int64
	back    chan *url.URL // where the platform was visited
	shots   string
}

func newSurfer(t *testing.T, settings string) *surfer {
	t.Helper()
	chromium := needs.Program(t, "chromium")
	s := &surfer{back: make(chan *url.URL, 9), shots: os.Getenv("INFINIA_SCREENSHOTS")}
	if s.shots == "" {
		s.shots = t.TempDir()
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			s.posts.Add(1)
		}
		s.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.rig = newRig(t, storetest.SQLite, server.URL, settings, false)

	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium), chromedp.Headless, chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()),
	}
	for _, flag := range []string{"disable-gpu", "disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	s.browser, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(s.browser); err != nil { // starts it; a time-out on this first call would end the browser itself
		t.Fatal(err)
	}
	s.browser, cancel = context.WithTimeout(s.browser, time.Minute)
	t.Cleanup(cancel)
	return s
}

// platform is where the seller comes from and returns to: on another site, as in life.
func (s *surfer) platform() string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/seller" {
			s.back <- r.URL
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!DOCTYPE html><title>platform</title><h1>Platform</h1>")
	}))
	s.t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

func (s *surfer) act(steps ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	if err := chromedp.Do(s.browser, steps...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *surfer) open(path string) { s.t.Helper(); s.act(chromedp.Navigate(s.engine.PublicURL + path)) }

func (s *surfer) click(selector string) { s.t.Helper(); s.act(chromedp.Click(chromedp.CSS(selector))) }

func evaluate[T any](s *surfer, expression string) T {
	s.t.Helper()
	v, err := chromedp.Run(s.browser, chromedp.Evaluate[T](expression))
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *surfer) waitBack() *url.URL {
	s.t.Helper()
	select {
	case u := <-s.back:
		return u
	case <-s.browser.Done():
		s.t.Fatal("the browser did not return to the platform")
		return nil
	}
}

func (s *surfer) screenshot(name string) {
	s.t.Helper()
	png, err := chromedp.Run(s.browser, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.shots, name+".png"), png, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// look sets the size of the window and the colours that the seller likes.
func (s *surfer) look(width, height int64, scheme string) {
	s.t.Helper()
	s.act(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

func TestBrowserConfirms(t *testing.T) {
	s := newSurfer(t, "{}")
	platform := s.platform()
	path := s.link("B-1", map[string]string{"backlinkUrl": platform + "/seller?id=1#done"})
	s.act(chromedp.Navigate(platform))
	// Coming from another site, the browser sends no cookie with this first request.
	evaluate[any](s, "location.href = '"+s.engine.PublicURL+path+"'; null")
	s.click("button[value=confirm]")
	if evaluate[bool](s, "document.querySelector('form').checkValidity()") || s.posts.Load() != 0 {
		t.Fatal("the form can be sent without the box")
	}
	s.click("input[name=agree]")
	s.click("button[value=confirm]")
	if got, want := s.waitBack().String(), "/seller?id=1&requestNo=B-1&status=PROCESSING"; got != want {
		t.Errorf("the browser returned to %s, want %s", got, want)
	}
	if b := s.binding(); b.State != op.BindingAwaitingReview || !strings.Contains(b.Consent, "Chrome") {
		t.Errorf("the binding is %s with consent %s", b.State, b.Consent)
	}
	s.open(path)
	s.act(chromedp.WaitVisible(chromedp.CSS(".mark.wait")))
	s.screenshot("review")
}

func TestBrowserDeclines(t *testing.T) {
	s := newSurfer(t, "{}")
	s.look(360, 740, "light")
	s.open(s.link("B-1", map[string]string{"backlinkUrl": s.platform() + "/seller"}))
	s.click("button[value=decline]")
	if got, want := s.waitBack().String(), "/seller?requestNo=B-1&status=FAILED"; got != want {
		t.Errorf("the browser returned to %s, want %s", got, want)
	}
	if b := s.binding(); b.State != op.BindingFailed {
		t.Errorf("the binding is %s", b.State)
	}
}

func TestBrowserRefusesAFormOfAnotherSite(t *testing.T) {
	s := newSurfer(t, "{}")
	path := s.link("B-1", nil)
	s.open(path) // so that there is a cookie
	field := evaluate[string](s, "document.querySelector('input[name=page]').value")
	s.act(chromedp.Navigate(s.platform()))
	evaluate[any](s, fmt.Sprintf(`document.body.innerHTML = '<form method="post" action="%s"><input name="page" value="%s">' +
		'<input name="agree" value="yes"><button name="action" value="confirm">Win a prize</button></form>'; null`, s.engine.PublicURL+path, field))
	s.click("button")
	s.act(chromedp.WaitVisible(chromedp.CSS(".mark.bad")))
	if b := s.binding(); b.State != op.BindingAwaitingSeller {
		t.Errorf("the binding is %s", b.State)
	}
}

func TestBrowserShowsThePages(t *testing.T) {
	s := newSurfer(t, `{"autoApprove":true}`)
	path := s.link("B-1", map[string]string{"backlinkUrl": ""})
	long := s.link("B-2", map[string]string{"sellerId": strings.Repeat("LONG-", 12), "sellerName": strings.Repeat("VeryLongName", 21), "storeName": "店" + strings.Repeat("铺", 99),
		"storeUrl": "https://" + strings.Repeat("store-", 40) + ".example.com/" + strings.Repeat("a", 900), "note": strings.Repeat("first line\nsecond ", 20)})
	for device, size := range map[string][2]int64{"desktop": {1280, 800}, "phone": {360, 740}} {
		for _, scheme := range []string{"light", "dark"} {
			s.look(size[0], size[1], scheme)
			for page, address := range map[string]string{
				"ask-en": path + "?lang=en", "ask-zh": path + "?lang=zh", "long": long + "?lang=en", "dead": "/b/none?lang=en", "start": "/?lang=en",
			} {
				s.open(address)
				if wide := evaluate[int64](s, "document.documentElement.scrollWidth"); wide > size[0] {
					t.Errorf("%s is %d wide on a %s", page, wide, device)
				}
				s.screenshot(page + "-" + device + "-" + scheme)
			}
		}
	}
	s.look(360, 740, "light")
	s.open(path)
	evaluate[any](s, "document.querySelector('input[name=agree]').required = false; null")
	s.click("button[value=confirm]")
	s.act(chromedp.WaitVisible(chromedp.CSS("#fault")))
	s.screenshot("fault-phone-light")
	s.click("input[name=agree]")
	s.screenshot("ticked-phone-light")
	s.click("button[value=confirm]")
	s.act(chromedp.WaitVisible(chromedp.CSS(".mark.good")))
	s.screenshot("bound-phone-light")
}
