package console

import (
	"context"
	"encoding/json"
	"html"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

func TestPageAsks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, publicURL, "{}", false)
		v := r.visitor()
		path := r.link("B-1", nil)
		w := v.get(path)
		expect(t, w, 200, `<html lang="en">`, "Merchant Hub asks to share revenue with you", "First-time binding", "Acme Trading Ltd.", "SELLER-123456",
			"<bdi>7Q42</bdi>", "Company", "China (CHN)", "CNH", "Acme Official Store", "https://<strong>store.example.com</strong>/acme",
			"This link can be used for another 30 min.", "No real money moves here.", " required", " formnovalidate", html.EscapeString(consentEnglish.Points[0]))
		if body := w.Body.String(); strings.Contains(body, certNo) || strings.Contains(body, `href="https://store`) || strings.Contains(body, "<script") || strings.Count(body, "<h1") != 1 {
			t.Errorf("the page has the certificate number, a link to the store, a script or not one heading:\n%s", body)
		}
		v.header.Set("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8")
		expect(t, v.get(path), 200, `<html lang="zh-Hans">`, "Merchant Hub 请求向您分账", "中国 (CHN)", "企业", consentChinese.Points[0], `href="?lang=en"`)
		expect(t, v.get(path+"?lang=en"), 200, `<html lang="en">`, `action="?lang=en"`)
	})
}

func TestConfirm(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, publicURL, "{}", false)
		v := r.visitor()
		v.header.Set("User-Agent", strings.Repeat("x", 511)+"é")
		path := r.link("B-1", nil)
		w := v.send("POST", path+"?lang=zh", v.form(path, "confirm"))
		expect(t, w, 200, "已确认，正在审核", "返回 merchant.example.com")
		if got, want := w.Header().Get("Refresh"), "0; url="+backTo+"?requestNo=B-1&status=PROCESSING"; got != want {
			t.Errorf("Refresh is %q, want %q", got, want)
		}
		b := r.binding()
		if b.State != op.BindingAwaitingReview {
			t.Fatalf("the binding is %s", b.State)
		}
		var got op.Consent
		if err := json.Unmarshal([]byte(b.Consent), &got); err != nil {
			t.Fatal(err)
		}
		want := op.Consent{TextVersion: "consent-2026-11", Language: "zh-Hans", Address: "192.0.2.7", UserAgent: strings.Repeat("x", 511), Time: got.Time}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDecline(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, publicURL, "{}", false)
		v := r.visitor()
		path := r.link("B-1", map[string]string{"backlinkUrl": ""})
		form := v.form(path, "decline")
		form.Del("agree") // who declines need not agree
		w := v.send("POST", path, form)
		expect(t, w, 200, "You declined", "You may close this page.")
		if w.Header().Get("Refresh") != "" {
			t.Errorf("the last page leads on: %v\n%s", w.Header(), w.Body)
		}
		if b := r.binding(); b.State != op.BindingFailed || b.Consent != "" {
			t.Errorf("the binding is %s with consent %q", b.State, b.Consent)
		}
		expect(t, v.get(path), 200, "You declined")
	})
}

func TestEachStateHasItsPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		confirmed := func(v *visitor, path string) string { v.answer(path, "confirm"); return path }
		for name, tc := range map[string]struct {
			settings string
			reach    func(v *visitor, path string) string // brings the binding there; returns the link to open
			status   int
			en, zh   string
			back     string // status that the way back has
		}{
			"unknown": {reach: func(*visitor, string) string { return "/b/AAAAAAAAAAAAAAAAAAAAAA" }, status: 404, en: "This link is not valid any more", zh: "此链接已失效"},
			"replaced": {reach: func(v *visitor, path string) string {
				v.link("B-1", nil)
				return path
			}, status: 404, en: "This link is not valid any more", zh: "此链接已失效"},
			"superseded": {reach: func(v *visitor, path string) string {
				v.link("B-2", nil)
				return path
			}, status: 404, en: "This link is not valid any more", zh: "此链接已失效"},
			"expired": {reach: func(v *visitor, path string) string {
				v.db.Clock.Advance(31 * time.Minute)
				return path
			}, status: 410, en: "This link has expired", zh: "此链接已过期"},
			"awaiting review": {reach: confirmed, status: 200, en: "Confirmed, now under review", zh: "已确认，正在审核", back: "PROCESSING"},
			"approved by itself": {settings: `{"autoApprove":true}`, reach: confirmed, status: 200,
				en: "Your account is bound", zh: "您的账户已绑定", back: "SUCCESS"},
			"rejected": {reach: func(v *visitor, path string) string {
				confirmed(v, path)
				v.decide(reject)
				return path
			}, status: 200, en: "The account was not bound", zh: "账户未绑定", back: "FAILED"},
			"revoked": {reach: func(v *visitor, path string) string {
				confirmed(v, path)
				v.decide(approve)
				v.decide(revoke)
				return path
			}, status: 200, en: "This binding has ended", zh: "此绑定已解除", back: "REVOKED"},
		} {
			t.Run(name, func(t *testing.T) {
				settings := tc.settings
				if settings == "" {
					settings = "{}"
				}
				r := newRig(t, engine, publicURL, settings, false)
				v := r.visitor()
				path := tc.reach(v, r.link("B-1", nil))
				expect(t, v.get(path+"?lang=zh"), tc.status, tc.zh)
				for _, method := range []string{"GET", "POST"} {
					w := v.send(method, path, url.Values{"agree": {"yes"}, "action": {"confirm"}})
					expect(t, w, tc.status, tc.en)
					body := w.Body.String()
					if strings.Contains(body, "<form") || strings.Contains(body, "papers missing") || strings.Contains(body, "Acme") {
						t.Errorf("%s shows a form, the operator's reason or the seller:\n%s", method, body)
					}
					back := "?requestNo=B-1&amp;status=" + tc.back + `"`
					if (tc.back != "") != strings.Contains(body, back) {
						t.Errorf("%s: way back %q is not as wanted:\n%s", method, back, body)
					}
					if method == "GET" && w.Header().Get("Refresh") != "" {
						t.Error("looking at the page leads away from it")
					}
				}
			})
		}
	})
}

func TestLookingChangesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, publicURL, "{}", false)
		path := r.link("B-1", nil)
		before := r.binding()
		for _, method := range []string{"GET", "HEAD", "GET", "OPTIONS", "PUT", "DELETE"} {
			r.visitor().send(method, path+"?action=confirm&agree=yes", nil)
		}
		if diff := cmp.Diff(before, r.binding()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnswersThatAreNone(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		for name, tc := range map[string]struct {
			change func(form url.Values)
			status int
			text   string
		}{
			"box not ticked": {func(f url.Values) { f.Del("agree") }, 422, "please tick the box"},
			"no choice":      {func(f url.Values) { f.Del("action") }, 400, "Please choose"},
			"other choice":   {func(f url.Values) { f.Set("action", "approve") }, 400, "Please choose"},
			"too long":       {func(f url.Values) { f.Set("more", strings.Repeat("x", 9000)) }, 400, "Please choose"},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, engine, publicURL, "{}", false)
				v := r.visitor()
				path := r.link("B-1", nil)
				form := v.form(path, "confirm")
				tc.change(form)
				expect(t, v.send("POST", path, form), tc.status, `role="alert"`, tc.text, "<form")
				if b := r.binding(); b.State != op.BindingAwaitingSeller {
					t.Errorf("the binding is %s", b.State)
				}
				expect(t, v.answer(path, "confirm"), 200, "Confirmed")
			})
		}
	})
}

func TestAnswersFromElsewhere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		const again = "Your answer could not be matched to this page"
		const foreign = "This answer was not sent from this page"
		for name, tc := range map[string]struct {
			change func(v *visitor, form url.Values)
			text   string
		}{
			"no cookie":      {func(v *visitor, _ url.Values) { clear(v.cookies) }, again},
			"empty cookie":   {func(v *visitor, f url.Values) { v.cookies["infinia-page"] = ""; f.Set("page", fieldOf("", "")) }, again},
			"another cookie": {func(v *visitor, _ url.Values) { v.cookies["infinia-page"] = "PLANTED" }, again},
			"no field":       {func(_ *visitor, f url.Values) { f.Del("page") }, again},
			"another link's": {func(v *visitor, f url.Values) {
				f["page"] = v.form(v.link("B-2", map[string]string{"currency": "USD"}), "")["page"]
			}, again},
			"another site":       {func(v *visitor, _ url.Values) { v.header.Set("Sec-Fetch-Site", "cross-site") }, foreign},
			"neighbouring host":  {func(v *visitor, _ url.Values) { v.header.Set("Sec-Fetch-Site", "same-site") }, foreign},
			"another origin":     {func(v *visitor, _ url.Values) { v.header.Set("Origin", "https://merchant.example.com") }, foreign},
			"origin not told":    {func(v *visitor, _ url.Values) { v.header.Set("Origin", "null") }, foreign},
			"origin less secure": {func(v *visitor, _ url.Values) { v.header.Set("Origin", "http://pay.example.com:8080") }, foreign},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, engine, publicURL, "{}", false)
				v := r.visitor()
				path := r.link("B-1", nil)
				form := v.form(path, "confirm")
				tc.change(v, form)
				expect(t, v.send("POST", path, form), 403, tc.text)
				if b := r.binding(); b.State != op.BindingAwaitingSeller {
					t.Errorf("the binding is %s", b.State)
				}
			})
		}
	})
}

func TestAnswersFromThePage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		for name, header := range map[string][2]string{
			"same origin":             {"Sec-Fetch-Site", "same-origin"},
			"origin before the proxy": {"Origin", publicURL},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, engine, publicURL, "{}", false)
				v := r.visitor()
				path := r.link("B-1", nil)
				form := v.form(path, "confirm")
				v.header.Set(header[0], header[1])
				r.engine.PublicURL = "http://10.0.0.5:8080" // what a proxy may make of the request's host
				expect(t, v.send("POST", path, form), 200, "Confirmed")
			})
		}
	})
}

func TestDoubleClickShowsTheOutcome(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, publicURL, "{}", false)
		v := r.visitor()
		path := r.link("B-1", nil)
		form := v.form(path, "confirm")
		v.send("POST", path, form)
		first := r.binding()
		r.db.Clock.Advance(time.Hour) // an expired link still tells what was confirmed by it
		form.Set("action", "decline")
		w := v.send("POST", path, form)
		expect(t, w, 200, "Confirmed, now under review")
		if w.Header().Get("Refresh") == "" {
			t.Error("the second answer does not lead back")
		}
		if diff := cmp.Diff(first, r.binding()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnswersAtOnceCountOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, publicURL, `{"autoApprove":true,"events":["binding"],"callbackUrl":"https://merchant.example.com/hook"}`, false)
		v := r.visitor()
		path := r.link("B-1", nil)
		form := v.form(path, "")
		var wg sync.WaitGroup
		pages := make([]string, 16)
		for i := range pages {
			own := &visitor{rig: r, cookies: map[string]string{"infinia-page": v.cookies["infinia-page"]}, header: v.header}
			filled := url.Values{"page": form["page"], "agree": form["agree"], "action": {[]string{"confirm", "decline"}[i%2]}}
			wg.Go(func() { pages[i] = own.send("POST", path, filled).Body.String() })
		}
		wg.Wait()
		b := r.binding()
		want := map[string]string{op.BindingSuccess: "Your account is bound", op.BindingFailed: "You declined"}[b.State]
		if want == "" || (b.State == op.BindingFailed) != (b.Consent == "") {
			t.Fatalf("the binding is %s with consent %q", b.State, b.Consent)
		}
		for _, page := range pages {
			if !strings.Contains(page, want) && !strings.Contains(page, "This link is not valid any more") {
				t.Errorf("the binding is %s, but a page tells:\n%s", b.State, page)
			}
		}
		if err := r.db.Read(t.Context(), func(q *pgdb.Queries) error {
			events, err := q.PageDeliveries(t.Context(), pgdb.PageDeliveriesParams{Before: 1 << 60, Most: 9})
			if len(events) != 1 {
				t.Errorf("%d events tell the outcome", len(events))
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

func TestHostileTextStaysText(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		const evil = "\"><script>alert(1)</script>'\u202egnp.elif\u2066"
		r := newRig(t, engine, publicURL, "{}", false)
		r.do(store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			return q.UpdateApp(ctx, pgdb.UpdateAppParams{AppID: "shop", Name: evil, Settings: "{}"})
		}})
		v := r.visitor()
		path := r.link("B-1", map[string]string{"sellerId": evil, "sellerName": evil, "storeName": evil, "note": evil, "sellerCertNo": evil,
			"storeUrl": "https://store.example.com/?" + evil, "backlinkUrl": "https://merchant.example.com/a?x=" + evil + "#" + evil})
		asked, told := v.get(path), v.answer(path, "confirm")
		for _, page := range []string{asked.Body.String(), told.Body.String()} {
			if strings.Contains(page, "<script") || strings.ContainsAny(page, "\u202e\u2066") {
				t.Errorf("hostile text reached the page:\n%s", page)
			}
		}
		if got := told.Header().Get("Refresh"); strings.ContainsAny(got, "\"'<>\r\n") || strings.ContainsFunc(got, func(r rune) bool { return r > '~' }) {
			t.Errorf("Refresh is %q", got)
		}
	})
}

func TestBacklink(t *testing.T) {
	for address, want := range map[string]string{
		"https://m.example.com":                 "https://m.example.com?requestNo=B-1&status=PROCESSING",
		"https://m.example.com/a/b?c=1&d=%20+x": "https://m.example.com/a/b?c=1&d=%20+x&requestNo=B-1&status=PROCESSING",
		"https://m.example.com/a?b=1#part":      "https://m.example.com/a?b=1&requestNo=B-1&status=PROCESSING#part",
		"https://m.example.com/#/app?x=1":       "https://m.example.com/?requestNo=B-1&status=PROCESSING#/app?x=1",
		"https://m.example.com/?":               "https://m.example.com/?requestNo=B-1&status=PROCESSING",
		"http://localhost:9000/x?q=卖家":          "http://localhost:9000/x?q=%E5%8D%96%E5%AE%B6&requestNo=B-1&status=PROCESSING",
		"javascript:alert(1)":                   "",
		"//m.example.com/":                      "",
		"":                                      "",
	} {
		got := ""
		if b := backlinkOf(pgdb.Binding{RequestNo: "B-1", State: op.BindingAwaitingReview, BacklinkURL: address}); b != nil {
			got = b.URL
		}
		if got != want {
			t.Errorf("%s leads to %s, want %s", address, got, want)
		}
	}
}

func TestHostInAnAddress(t *testing.T) {
	for address, want := range map[string]string{
		"https://store.example.com/acme": "https://[store.example.com]/acme",
		"http://http":                    "http://[http]",
		"https://a.example:81?b=/c":      "https://[a.example:81]?b=/c",
		"https://a.example\\.b.example/": "https://[a.example]\\.b.example/",
	} {
		before, host, after := aroundHost(address)
		if got := before + "[" + host + "]" + after; got != want {
			t.Errorf("%s is split as %s, want %s", address, got, want)
		}
	}
}

func TestCertificateTail(t *testing.T) {
	for no, want := range map[string]string{certNo: "7Q42", "12345678": "5678", "1234": "34", "1": "", "身份证号码": "号码"} {
		if got := certTail(no); got != want {
			t.Errorf("%s shows %q, want %q", no, got, want)
		}
	}
}
