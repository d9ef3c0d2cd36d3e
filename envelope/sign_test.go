package envelope_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/openinfinia/infinia/envelope"
)

func TestSignThenVerify(t *testing.T) {
	var publics []*rsa.PublicKey
	names := []string{"client-2048", "platform-3072", "client-4096", "platform-8192"}
	for _, name := range names {
		publics = append(publics, &testKey(t, name).PublicKey)
	}
	for want, name := range names {
		t.Run(name, func(t *testing.T) {
			signature, err := envelope.Sign("text", testKey(t, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := envelope.Verify("text", signature, publics...)
			if err != nil || got != want {
				t.Errorf("key %d, %v; want %d", got, err, want)
			}
			if s := envelope.ExplainSignature("text", signature, nil, publics...); s != "" {
				t.Errorf("it verifies, and is explained as %q", s)
			}
		})
	}
}

func TestSignRefusesAnotherKindOfKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := envelope.Sign("text", key); err == nil {
		t.Errorf("signed: %s", s)
	}
}

func TestVerifyHasOneFailure(t *testing.T) {
	key := testKey(t, "client-2048")
	other := &testKey(t, "platform-2048").PublicKey
	signature, err := envelope.Sign("text", key)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text, signature string
		keys            []*rsa.PublicKey
	}{
		"NoKey":        {"text", signature, nil},
		"AnotherKey":   {"text", signature, []*rsa.PublicKey{other}},
		"AnotherSize":  {"text", signature, []*rsa.PublicKey{&testKey(t, "client-4096").PublicKey}},
		"AnotherText":  {"text ", signature, []*rsa.PublicKey{&key.PublicKey}},
		"Empty":        {"text", "", []*rsa.PublicKey{&key.PublicKey}},
		"NotBase64":    {"text", "%", []*rsa.PublicKey{&key.PublicKey}},
		"LineBreak":    {"text", signature + "\n", []*rsa.PublicKey{&key.PublicKey}},
		"Unpadded":     {"text", strings.TrimRight(signature, "="), []*rsa.PublicKey{&key.PublicKey}},
		"Short":        {"text", "AAAA", []*rsa.PublicKey{&key.PublicKey}},
		"LongForAnRSA": {"text", strings.Repeat("A", 2048), nil},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := envelope.Verify(tt.text, tt.signature, tt.keys...)
			if i != -1 || !errors.Is(err, envelope.ErrSignature) || err.Error() != envelope.ErrSignature.Error() {
				t.Errorf("got %d, %v", i, err)
			}
			if envelope.Explain(err) == "" {
				t.Error("no explanation")
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	key := testKey(b, "client-4096")
	text := strings.Repeat("A", 4096)
	signature, err := envelope.Sign(text, key)
	if err != nil {
		b.Fatal(err)
	}
	for name, keys := range map[string][]*rsa.PublicKey{"4096": {&key.PublicKey}, "4096/unknown-app": nil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := envelope.Verify(text, signature, keys...); (err == nil) != (keys != nil) {
					b.Fatal(err)
				}
			}
		})
	}
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
