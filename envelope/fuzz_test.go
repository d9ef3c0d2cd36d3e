package envelope_test

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/openinfinia/infinia/envelope"
)

// FuzzParseRequest: a request that was read is written and read to the same; a
// refused one leaves nothing behind and tells at least one fault.
func FuzzParseRequest(f *testing.F) {
	for _, file := range glob(f, "testdata/vectors/*.txt") {
		f.Add(readVector(f, file).body(f))
	}
	for _, body := range []string{
		` { "a":{"b":[1,"}"],"c\\"":"]"} ,"ver\u0073ion" : "1.0", "appId":"a\ud800\n\u00e9", "dataType":"JSON","requestData":"\\"," ,"signature":"x" ,"":null}` + "\r\n",
		`{"version":"1.0","appId":"a","dataType":"JSON","payload":"x\\","signature":"x","n":-1.5e+3,"t":true}`,
		"{}\u00a0", "{}\u0085", "\ufeff{}", `[{"version":"1.0"}]`, "", "null", `{"version":1,"appId":{},"dataType":[],"requestData":null}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, parse := range []func([]byte) (envelope.Request, error){envelope.ParseRequest, envelope.ParseNotification} {
			r, err := parse(body)
			if err != nil {
				var bad *envelope.FormatError
				if !errors.As(err, &bad) || len(bad.Faults) == 0 || r != (envelope.Request{}) {
					t.Fatalf("got %+v, %v", r, err)
				}
				if isObject(body) == (bad.Faults[0].Field == "") {
					t.Fatalf("%v", err)
				}
				continue
			}
			if was := unmarshal(t, body); was != r {
				t.Fatalf("got %+v; encoding/json says %+v", r, was)
			}
			again, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if r2, err := parse(again); err != nil || r2 != r {
				t.Fatalf("got %+v, %v; want %+v", r2, err, r)
			}
		}
		r, err := envelope.ParseResponse(body)
		if (r == envelope.Response{}) != (err != nil) {
			t.Fatalf("got %+v, %v", r, err)
		}
	})
}

// isObject says whether it is one JSON object in UTF-8.
func isObject(body []byte) bool {
	var members map[string]json.RawMessage
	return utf8.Valid(body) && json.Unmarshal(body, &members) == nil && members != nil
}

// unmarshal reads an envelope in which each member is there once, by encoding/json.
func unmarshal(t *testing.T, body []byte) (r envelope.Request) {
	r.Version, r.AppID, r.DataType = memberOf(t, body, "version"), memberOf(t, body, "appId"), memberOf(t, body, "dataType")
	r.RequestData, r.Signature = memberOf(t, body, "requestData"), memberOf(t, body, "signature")
	if r.RequestData == "" { // a notification
		r.RequestData = memberOf(t, body, "payload")
	}
	return r
}

func memberOf(t *testing.T, body []byte, name string) (value string) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatal(err)
	}
	if raw, ok := members[name]; ok {
		if err := json.Unmarshal(raw, &value); err != nil {
			t.Fatal(err)
		}
	}
	return value
}

// FuzzOpen: what Encrypt takes comes back whole; other data never opens in part,
// and its failure can be explained.
func FuzzOpen(f *testing.F) {
	key, other := testKey(f, "platform-2048"), testKey(f, "client-2048")
	for _, file := range glob(f, "testdata/vectors/*2048.txt") {
		r, err := envelope.ParseRequest(readVector(f, file).body(f))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.RequestData, []byte(binding), 64)
	}
	f.Add("", []byte("阿克梅"), 1)
	f.Add("AAAA", []byte{0xff}, -1)
	f.Add("{}", []byte(""), envelope.FullBlock)
	f.Add("AA-_\n", []byte("x"), 245)
	f.Fuzz(func(t *testing.T, data string, text []byte, blockBytes int) {
		if len(data)+len(text) > 2000 || blockBytes > 0 && len(text)/blockBytes > 8 {
			t.Skip("slow")
		}
		plain, err := envelope.Decrypt(data, other, key)
		if err != nil && (plain != nil || !errors.Is(err, envelope.ErrUnreadable) || envelope.Explain(err) == "") {
			t.Fatalf("got %q, %v", plain, err)
		}
		if err == nil && (len(plain) == 0 || !utf8.Valid(plain)) {
			t.Fatalf("opened as %q", plain)
		}
		if i, err := envelope.Verify(data, string(text), &key.PublicKey); err == nil || i != -1 || envelope.Explain(err) == "" {
			t.Fatalf("a signature out of nothing: %d, %v", i, err)
		}

		sealed, err := envelope.Encrypt(text, &key.PublicKey, blockBytes)
		if legal := len(text) > 0 && utf8.Valid(text) && blockBytes >= 0 && blockBytes <= key.Size()-11; legal != (err == nil) {
			t.Fatalf("sealing: %v", err)
		}
		if err != nil {
			return
		}
		if back, err := envelope.Decrypt(sealed, other, key); err != nil || !bytes.Equal(back, text) {
			t.Fatalf("got %q, %v; want %q", back, err, text)
		}
	})
}

// FuzzParseKey: a key that was read is written and read to the same, and can be
// used; a refused one leaves nothing behind.
func FuzzParseKey(f *testing.F) {
	for _, pattern := range []string{"testdata/keys/*2048*.pem", "testdata/keys/refused/*.txt"} {
		for _, file := range glob(f, pattern) {
			f.Add(read(f, file))
		}
	}
	for _, form := range forms("PUBLIC KEY", []byte{0x30, 0x80, 0, 0}) {
		f.Add(form)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		private, err := envelope.ParsePrivateKey(b)
		if (err == nil) != (private != nil) {
			t.Fatalf("got %v, %v", private, err)
		}
		if err == nil {
			if again, err := envelope.ParsePrivateKey(envelope.MarshalPrivateKey(private)); err != nil || !again.Equal(private) {
				t.Fatalf("another key: %v", err)
			}
		}
		public, err := envelope.ParsePublicKey(b)
		if (err == nil) != (public != nil) {
			t.Fatalf("got %v, %v", public, err)
		}
		if err == nil {
			checkPublic(t, public)
		}
	})
}

func checkPublic(t *testing.T, key *rsa.PublicKey) {
	t.Helper()
	if again, err := envelope.ParsePublicKey(envelope.MarshalPublicKey(key)); err != nil || !again.Equal(key) {
		t.Fatalf("another key: %v", err)
	}
	if _, err := envelope.Encrypt([]byte("x"), key, envelope.FullBlock); err != nil {
		t.Fatal(err)
	}
}
