package envelope_test

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/openinfinia/infinia/envelope"
)

// Most explanations are proven by the explain lines of testdata/vectors.

func TestExplainSignature(t *testing.T) {
	key := testKey(t, "client-2048")
	public := &key.PublicKey
	const text = "AAAA"
	plain := []byte(`{"a":"1"}`)
	right, err := envelope.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(hash crypto.Hash, digest []byte) string {
		b, err := rsa.SignPKCS1v15(nil, key, hash, digest)
		if err != nil {
			t.Fatal(err)
		}
		return base64Of(b)
	}
	sha := crypto.SHA1.New()
	sha.Write(plain)
	for name, tt := range map[string]struct{ signature, want string }{
		"TwoMistakes": {signed(crypto.SHA1, sha.Sum(nil)), "hashed with SHA-1: use SHA256withRSA; signature verifies over the plain text"},
		"NotHashed":   {signed(0, []byte(text)), "not hashed"},
		"AnotherHash": {signed(0, []byte("something else")), "with another hash or over another text"},
		"URLEncoded":  {url.QueryEscape(right), "URL-encoded"},
		"URLSafe":     {strings.NewReplacer("+", "-", "/", "_").Replace(right), "URL-safe Base64"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := envelope.ExplainSignature(text, tt.signature, plain, public); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestExplainNamesEachKey(t *testing.T) {
	first, second := testKey(t, "platform-2048"), testKey(t, "platform-3072")
	_, err := envelope.Decrypt(base64Of(make([]byte, 300)), first, second)
	want := envelope.Fingerprint(&first.PublicKey) + ": 256-byte blocks expected, 300 bytes came: last block cut; " +
		envelope.Fingerprint(&second.PublicKey) + ": 384-byte blocks expected, 300 bytes came: last block cut"
	if got := envelope.Explain(err); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestExplainOtherErrors(t *testing.T) {
	for _, err := range []error{nil, errors.New("another"), envelope.ErrUnreadable} {
		if got := envelope.Explain(err); got != "" {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// The plain text is known to whoever could decrypt it, after the signature was
// found wrong.
func TestExplainSignatureOverPlainText(t *testing.T) {
	v := readVector(t, "testdata/vectors/openssl-signature-signed-plain-text.txt")
	r, err := envelope.ParseRequest(v.body(t))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := envelope.Decrypt(r.RequestData, testKey(t, "platform-4096"))
	if err != nil {
		t.Fatal(err)
	}
	keys := []*rsa.PublicKey{&testKey(t, "client-4096").PublicKey}
	got := envelope.ExplainSignature(r.RequestData, r.Signature, plain, keys...)
	want := "signature verifies over the plain text: sign the Base64 text of requestData, after encrypting"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
