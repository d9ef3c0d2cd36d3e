package gate

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestHostileInput is a table of what comes in from outside, each with its code. Whatever is sent, nothing is stored.
func TestHostileInput(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		otherClient := testKey(t, "test-client-4096")
		otherPlatform := testKey(t, "test-platform-4096")
		r.addApp("other", store.Settings{}, &otherClient.PublicKey, otherPlatform)
		r.addApp("narrow", store.Settings{Operations: []string{string(infinia.OpAccountBalance)}, Addresses: []string{"198.51.100.0/24"}},
			&testKey(t, "test-platform-3072").PublicKey, testKey(t, "test-platform-8192"))
		const share = `{"requestNo":"H-1","sellerId":"S1","currency":"CNH","amount":"1"}`
		encrypt := func(plain string, to *rsa.PublicKey) string {
			data, err := envelope.Encrypt([]byte(plain), to, 64)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		signed := func(data string) []byte { return r.wrap(testApp, data, r.sign(data, r.client)) }
		good := encrypt(share, &r.platform.PublicKey)
		raw, _ := base64.StdEncoding.DecodeString(good)
		foreign, _ := base64.StdEncoding.DecodeString(encrypt(share, &otherPlatform.PublicKey))
		edit := func(old, new string) []byte { return bytes.Replace(r.seal(share), []byte(old), []byte(new), 1) }
		plain := func(content string) []byte { return r.seal(content) }

		for _, c := range []struct {
			name  string
			body  []byte
			code  infinia.Code
			field string // that the message names
		}{
			{"unknown app", r.wrap("nobody", good, r.sign(good, r.client)), infinia.NotAuthenticated, ""},
			{"another app's key", r.wrap("other", good, r.sign(good, r.client)), infinia.NotAuthenticated, ""},
			{"wrong signature", r.wrap(testApp, good, r.sign("something else", r.client)), infinia.NotAuthenticated, ""},
			{"signature that is no Base64", r.wrap(testApp, good, "%%%"), infinia.NotAuthenticated, ""},
			{"signature over the plain text", r.wrap(testApp, good, r.sign(share, r.client)), infinia.NotAuthenticated, ""},
			{"encrypted with another key", signed(encrypt(share, &r.client.PublicKey)), infinia.Unreadable, ""},
			{"another app's block spliced in", signed(base64.StdEncoding.EncodeToString(append(raw[:256:256], foreign[:512]...))), infinia.Unreadable, ""},
			{"URL-safe Base64", signed(strings.NewReplacer("+", "-", "/", "_").Replace(good)), infinia.Unreadable, ""},
			{"Base64 without padding", signed(strings.TrimRight(good, "=")), infinia.Unreadable, ""},
			{"Base64 with line breaks", signed(good[:76] + "\n" + good[76:]), infinia.Unreadable, ""},
			{"half a block", signed(base64.StdEncoding.EncodeToString(raw[:300])), infinia.Unreadable, ""},
			{"blocks in another order", signed(base64.StdEncoding.EncodeToString(append(raw[256:512:512], raw[:256]...))), infinia.Unreadable, ""},
			{"invalid UTF-8", plainBytes(r, []byte("{\"requestNo\":\"\xff\"}")), infinia.Unreadable, ""},
			{"not JSON", plain("requestNo=H-1"), infinia.Unreadable, ""},
			{"JSON and more", plain(share + share), infinia.Unreadable, ""},
			{"an array", plain("[" + share + "]"), infinia.Unreadable, ""},
			{"a JSON string", plain(`"` + "H-1" + `"`), infinia.Unreadable, ""},
			{"duplicate member", plain(`{"requestNo":"H-1","requestNo":"H-2","sellerId":"S1","currency":"CNH","amount":"1"}`), infinia.Unreadable, ""},
			{"number instead of string", plain(`{"requestNo":"H-1","sellerId":"S1","currency":"CNH","amount":1}`), infinia.Malformed, "amount"},
			{"object instead of string", plain(`{"requestNo":"H-1","sellerId":{},"currency":"CNH","amount":"1"}`), infinia.Malformed, "sellerId"},
			{"missing", plain(`{"requestNo":"H-1","currency":"CNH","amount":"1"}`), infinia.Missing, "sellerId"},
			{"null", plain(`{"requestNo":"H-1","sellerId":null,"currency":"CNH","amount":"1"}`), infinia.Missing, "sellerId"},
			{"empty", plain(`{"requestNo":"H-1","sellerId":"","currency":"CNH","amount":"1"}`), infinia.Missing, "sellerId"},
			{"too long", plain(`{"requestNo":"H-1","sellerId":"` + strings.Repeat("s", 65) + `","currency":"CNH","amount":"1"}`), infinia.OutOfRange, "sellerId"},
			{"unknown currency", plain(`{"requestNo":"H-1","sellerId":"S1","currency":"XYZ","amount":"1"}`), infinia.OutOfRange, "currency"},
			{"70 KiB of requestData", signed(strings.Repeat("A", 70<<10)), infinia.TooLarge, "requestData"},
			{"oversized body", bytes.Repeat([]byte(" "), 1<<20), infinia.TooLarge, ""},
			{"body is not JSON", []byte("hello"), infinia.Malformed, ""},
			{"body is an array", []byte("[]"), infinia.Malformed, ""},
			{"body is empty", nil, infinia.Malformed, ""},
			{"body is invalid UTF-8", []byte("{\"version\":\"\xff\"}"), infinia.Malformed, ""},
			{"envelope member twice", edit(`"dataType":"JSON"`, `"dataType":"JSON","dataType":"JSON"`), infinia.Malformed, "dataType"},
			{"envelope member is a number", edit(`"version":"1.0"`, `"version":1.0`), infinia.Malformed, "version"},
			{"envelope member missing", edit(`"version":"1.0",`, ``), infinia.Missing, "version"},
			{"unknown version", edit(`"version":"1.0"`, `"version":"2.0"`), infinia.OutOfRange, "version"},
			{"unknown dataType", edit(`"dataType":"JSON"`, `"dataType":"XML"`), infinia.OutOfRange, "dataType"},
			{"requestNo with a slash", plain(`{"requestNo":"../H-1","sellerId":"S1","currency":"CNH","amount":"1"}`), infinia.Malformed, "requestNo"},
		} {
			t.Run(c.name, func(t *testing.T) {
				r.T = t
				_, resp, _ := r.post(infinia.OpRevenueSharing.Path(), c.body)
				if resp.Code != string(c.code) || !strings.Contains(resp.Message, c.field) {
					t.Errorf("answered %s %q, want %s that names %q", resp.Code, resp.Message, c.code, c.field)
				}
				if len(resp.Message) > 64 {
					t.Errorf("message has %d characters", len(resp.Message))
				}
				if (resp.Code[:3] == "SEC" || c.code == infinia.TooLarge) && resp.ResponseData != "" {
					t.Error("a failure before the request was read has responseData")
				}
			})
		}

		r.T = t
		narrow := testKey(t, "test-platform-3072")
		data := encrypt(share, &testKey(t, "test-platform-8192").PublicKey)
		if _, resp, _ := r.post(infinia.OpRevenueSharing.Path(), r.wrap("narrow", data, r.sign(data, narrow))); resp.Code != string(infinia.AddressNotAllowed) {
			t.Errorf("from another address: %s", resp.Code)
		}
		r.read(func(q *pgdb.Queries) error {
			counts, err := q.VerifyCounts(t.Context())
			if counts.Requests != 0 || counts.Shares != 0 {
				t.Errorf("hostile input left %d requests and %d shares", counts.Requests, counts.Shares)
			}
			return err
		})
	})
}

// plainBytes seals bytes that envelope.Encrypt refuses, because they are no UTF-8.
func plainBytes(r *rig, plain []byte) []byte {
	r.Helper()
	block, err := rsa.EncryptPKCS1v15(rand.Reader, &r.platform.PublicKey, plain) //lint:ignore SA1019 the wire's own padding
	if err != nil {
		r.Fatal(err)
	}
	data := base64.StdEncoding.EncodeToString(block)
	return r.wrap(testApp, data, r.sign(data, r.client))
}

func TestOperationNotAllowed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{Operations: []string{string(infinia.OpAccountBalance)}})
		if _, resp, _ := r.post(infinia.OpAccountBalance.Path(), r.seal(`{"currency":"CNH"}`)); resp.Code != string(infinia.Success) {
			t.Errorf("allowed operation: %s", resp.Code)
		}
		if _, resp, _ := r.post(infinia.OpRevenueSharingQuery.Path(), r.seal(`{"requestNo":"X"}`)); resp.Code != string(infinia.NotAllowed) {
			t.Errorf("other operation: %s", resp.Code)
		}
	})
}

func TestBlocksAreLimited(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{BlocksPerSecond: 0.001})
		body := r.seal(`{"currency":"CNH"}`)
		codes := map[string]int{}
		for range blocksAtOnce + 6 {
			_, resp, _ := r.post(infinia.OpAccountBalance.Path(), body)
			codes[resp.Code]++
		}
		if codes[string(infinia.Success)] != blocksAtOnce || codes[string(infinia.TooManyRequests)] != 6 {
			t.Errorf("codes %v, want %d calls of one block and 6 refused", codes, blocksAtOnce)
		}
	})
}

func TestAddressesAreLimited(t *testing.T) {
	l := newLimits(nil, 1)
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff")
	for range 3 {
		if !l.address(a) {
			t.Fatal("refused within the burst")
		}
	}
	if l.address(b) {
		t.Error("another address of the same /64 has its own bucket")
	}
	if !l.address(netip.MustParseAddr("2001:db8:1::1")) {
		t.Error("another network is refused")
	}
}

// TestSlowBody sends half a body and no more: the answer comes when the time for reading is over.
func TestSlowBody(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		r.gate.cfg.ReadTimeout = 50 * time.Millisecond
		srv := httptest.NewServer(r.gate)
		defer srv.Close()
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST "+infinia.OpAccountBalance.Path()+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), string(infinia.Unavailable)) {
			t.Errorf("answered %q", answer)
		}
	})
}

// TestKeyOverlap: old and new keys of both sides are valid together, and an answer is encrypted to the key that signed.
func TestKeyOverlap(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		newer, newPlatform := testKey(t, "test-client-4096"), testKey(t, "test-platform-3072")
		r.do(store.Unit{Keys: store.Keys{Apps: []string{testApp}}, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			if err := q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: testApp, Owner: store.ClientKey, Fingerprint: envelope.Fingerprint(&newer.PublicKey),
				PublicKey: string(envelope.MarshalPublicKey(&newer.PublicKey))}); err != nil {
				return err
			}
			return q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: testApp, Owner: store.PlatformKey, Fingerprint: envelope.Fingerprint(&newPlatform.PublicKey),
				PublicKey: string(envelope.MarshalPublicKey(&newPlatform.PublicKey)), PrivateKey: string(envelope.MarshalPrivateKey(newPlatform))})
		}})
		for _, client := range []*rsa.PrivateKey{r.client, newer} {
			for _, platform := range []*rsa.PrivateKey{r.platform, newPlatform} {
				data, err := envelope.Encrypt([]byte(`{"currency":"CNH"}`), &platform.PublicKey, 0)
				if err != nil {
					t.Fatal(err)
				}
				w := httptest.NewRecorder()
				r.gate.ServeHTTP(w, httptest.NewRequest(http.MethodPost, infinia.OpAccountBalance.Path(), bytes.NewReader(r.wrap(testApp, data, r.sign(data, client)))))
				var resp envelope.Response
				if err := json.Unmarshal(w.Body.Bytes(), &resp); err != nil {
					t.Fatal(err)
				}
				if _, err := envelope.Decrypt(resp.ResponseData, client); err != nil || resp.Code != string(infinia.Success) {
					t.Errorf("client key of %d, platform key of %d bits: %s, %v", client.N.BitLen(), platform.N.BitLen(), resp.Code, err)
				}
			}
		}
		// Both client keys have signed accepted requests; webhooks go to the newest.
		r.read(func(q *pgdb.Queries) error {
			keys, err := r.db.KeysOf(t.Context(), q, testApp)
			if err != nil {
				return err
			}
			primary, err := keys.Primary()
			if err == nil && !primary.Equal(&newer.PublicKey) {
				t.Error("the primary key is not the newest that signed")
			}
			return err
		})
	})
}

// TestSignedResponses: an app that wants its answers signed has every one signed after it was authenticated.
func TestSignedResponses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{SignResponses: true})
		for _, content := range []string{`{"currency":"CNH"}`, `{"currency":"no"}`, `[]`} {
			_, resp, _ := r.post(infinia.OpAccountBalance.Path(), r.seal(content))
			if _, err := envelope.Verify(resp.SigningText(), resp.Signature, &r.platform.PublicKey); err != nil {
				t.Errorf("%s: answered %s with signature %q: %v", content, resp.Code, resp.Signature, err)
			}
		}
	})
}

// TestDisabledApp: one answer, as for an unknown one.
func TestDisabledApp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		r.do(store.Unit{Keys: store.Keys{Apps: []string{testApp}}, Alone: func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
			return q.UpdateApp(ctx, pgdb.UpdateAppParams{AppID: testApp, Disabled: 1, Settings: "{}"})
		}})
		if _, resp, _ := r.post(infinia.OpAccountBalance.Path(), r.seal(`{"currency":"CNH"}`)); resp.Code != string(infinia.NotAuthenticated) {
			t.Errorf("disabled app: %s", resp.Code)
		}
	})
}

// TestAddressBehindProxy: what a client writes into X-Forwarded-For itself counts for nothing.
func TestAddressBehindProxy(t *testing.T) {
	g := &Gate{cfg: Config{BehindProxy: true}}
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{"203.0.113.9"}, "203.0.113.9"},
		{[]string{"10.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		{[]string{"10.1.1.1", "203.0.113.9"}, "203.0.113.9"}, // proxies that add a line of their own
		{[]string{"203.0.113.9", "2001:db8::1"}, "2001:db8::1"},
		{[]string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{[]string{"203.0.113.9", "1.2.3.4:5678"}, "invalid IP"},
		{nil, "invalid IP"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.RemoteAddr = "192.0.2.1:1"
		r.Header["X-Forwarded-For"] = c.lines
		if got := g.Address(r).String(); got != c.want {
			t.Errorf("%q: %s, want %s", c.lines, got, c.want)
		}
	}
}

// TestRecordedCalls: what is kept of calls has no link in it, and strangers cannot fill the disk.
func TestRecordedCalls(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		_, _, plain := r.post(infinia.OpAccountBinding.Path(), r.seal(`{"requestNo":"B-1","sellerId":"S1","sellerCertNo":"C","sellerName":"A","storeName":"A",`+
			`"storeUrl":"https://s.example.com","entityType":"Corporate","country":"CHN","currency":"CNH"}`))
		var reply infinia.AccountBindingReply
		if err := json.Unmarshal([]byte(plain), &reply); err != nil || reply.RedirectURL == "" {
			t.Fatal(plain, err)
		}
		token := reply.RedirectURL[strings.LastIndex(reply.RedirectURL, "/")+1:]
		for range 200 {
			r.post(infinia.OpAccountBalance.Path(), r.wrap("nobody", "AAAA", "AAAA"))
		}
		r.gate.recorder.close()
		var calls []pgdb.Call
		r.read(func(q *pgdb.Queries) (err error) {
			calls, err = q.PageCalls(t.Context(), pgdb.PageCallsParams{Before: 1 << 62, Most: 1000})
			return err
		})
		r.gate.recorder.stop = make(chan struct{}) // closed once more by the rig
		if len(calls) < 2 || len(calls) > 100 {
			t.Errorf("%d calls are recorded", len(calls))
		}
		for _, c := range calls {
			if strings.Contains(c.Response, token) {
				t.Error("a recorded call holds a link")
			}
			if c.Operation == string(infinia.OpAccountBinding) && (!strings.Contains(c.Response, "/b/...") || c.Request == "") {
				t.Errorf("recorded: %+v", c)
			}
		}
	})
}
