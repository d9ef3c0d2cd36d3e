package envelope_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/needs"
)

// testKey reads testdata/keys/test-<name>.pem.
func testKey(t testing.TB, name string) *rsa.PrivateKey {
	t.Helper()
	key, err := envelope.ParsePrivateKey(read(t, "testdata/keys/test-"+name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestParseKeyForms(t *testing.T) {
	key := testKey(t, "client-2048")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(read(t, "testdata/keys/test-client-2048.cert.pem"))
	for label, der := range map[string][]byte{
		"PRIVATE KEY":     pkcs8,
		"RSA PRIVATE KEY": x509.MarshalPKCS1PrivateKey(key),
		"PUBLIC KEY":      spki,
		"RSA PUBLIC KEY":  x509.MarshalPKCS1PublicKey(&key.PublicKey),
		"CERTIFICATE":     block.Bytes,
	} {
		for form, b := range forms(label, der) {
			t.Run(label+"/"+form, func(t *testing.T) { mustParse(t, b, strings.HasSuffix(label, "PRIVATE KEY"), key) })
		}
	}
	both := append(read(t, "testdata/keys/test-client-2048.cert.pem"), envelope.MarshalPrivateKey(key)...)
	t.Run("Bundle/private", func(t *testing.T) { mustParse(t, both, true, key) })
	t.Run("Bundle/public", func(t *testing.T) { mustParse(t, both, false, key) })
}

func TestParseKeyFromOpenSSL(t *testing.T) {
	needs.Program(t, "openssl")
	const in = "testdata/keys/test-client-2048.pem"
	key := testKey(t, "client-2048")
	for _, tt := range []struct {
		name    string
		private bool
		args    []string
	}{
		{"pkcs8", true, []string{"pkey", "-in", in}},
		{"pkcs8-der", true, []string{"pkcs8", "-topk8", "-nocrypt", "-in", in, "-outform", "DER"}},
		{"pkcs8-text", true, []string{"pkey", "-in", in, "-text"}},
		{"pkcs1", true, []string{"rsa", "-in", in, "-traditional"}},
		{"pkcs1-der", true, []string{"rsa", "-in", in, "-traditional", "-outform", "DER"}},
		{"spki", false, []string{"pkey", "-in", in, "-pubout"}},
		{"spki-der", false, []string{"pkey", "-in", in, "-pubout", "-outform", "DER"}},
		{"pkcs1-public", false, []string{"rsa", "-in", in, "-RSAPublicKey_out"}},
		{"certificate", false, []string{"req", "-x509", "-new", "-key", in, "-subj", "/CN=test"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "openssl", tt.args...).Output()
			if err != nil {
				t.Fatal(err)
			}
			mustParse(t, out, tt.private, key)
		})
	}
}

func mustParse(t *testing.T, b []byte, private bool, want *rsa.PrivateKey) {
	t.Helper()
	if private {
		got, err := envelope.ParsePrivateKey(b)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(want) {
			t.Error("another key came out")
		}
		return
	}
	got, err := envelope.ParsePublicKey(b)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(&want.PublicKey) {
		t.Error("another key came out")
	}
}

// forms is every outer form in which partners send a key.
func forms(label string, der []byte) map[string][]byte {
	text := string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	body := lines[1 : len(lines)-1]
	utf16le := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		utf16le = append(utf16le, byte(u), byte(u>>8))
	}
	return map[string][]byte{
		"DER":             der,
		"PEM":             []byte(text),
		"PEMWindows":      []byte("\ufeff" + strings.ReplaceAll(text, "\n", "\r\n")),
		"PEMUTF16":        utf16le,
		"PEMOldMac":       []byte(strings.ReplaceAll(text, "\n", "\r")),
		"PEMOneLine":      []byte(strings.Join(lines, " ")),
		"PEMLiteral":      []byte(strings.Join(lines, `\n`)),
		"PEMIndented":     []byte("  " + strings.Join(lines, "\n\t")),
		"PEMTextAround":   []byte("Bag Attributes\n" + text + "the end\n"),
		"Base64":          []byte(strings.Join(body, "")),
		"Base64Lines":     []byte(strings.Join(body, "\n") + "\n"),
		"Base64Windows":   []byte("\ufeff" + strings.Join(body, "\r\n")),
		"Base64Unpadded":  bytes.TrimRight([]byte(strings.Join(body, "")), "="),
		"Base64Separated": []byte(strings.Join(body, " ")),
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, file := range glob(t, "testdata/keys/refused/*.txt") {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			first, input, _ := bytes.Cut(read(t, file), []byte("\n"))
			want := strings.TrimPrefix(string(first), "expect: ")
			var err error
			if strings.HasPrefix(name, "private-") {
				_, err = envelope.ParsePrivateKey(input)
			} else {
				_, err = envelope.ParsePublicKey(input)
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestParsePublicKeyRefusesNumbers(t *testing.T) {
	n := testKey(t, "platform-8192").N
	for name, tt := range map[string]struct {
		key  rsa.PublicKey
		want string
	}{
		"TooLarge":     {rsa.PublicKey{N: new(big.Int).SetBit(n, 8192, 1), E: 65537}, "8193 bits, at most 8192"},
		"EvenModulus":  {rsa.PublicKey{N: new(big.Int).SetBit(n, 0, 0), E: 65537}, "damaged"},
		"ExponentOne":  {rsa.PublicKey{N: n, E: 1}, "damaged"},
		"EvenExponent": {rsa.PublicKey{N: n, E: 65536}, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := envelope.ParsePublicKey(envelope.MarshalPublicKey(&tt.key))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestMarshal(t *testing.T) {
	key := testKey(t, "client-4096")
	mustParse(t, envelope.MarshalPrivateKey(key), true, key)
	mustParse(t, envelope.MarshalPublicKey(&key.PublicKey), false, key)
	if got, want := string(envelope.MarshalPublicKey(&key.PublicKey)), string(read(t, "testdata/keys/test-client-4096.pub.pem")); got != want {
		t.Errorf("got %s, and OpenSSL %s", got, want)
	}
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// glob fails when nothing matches, so that a moved folder is not a passed test.
func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s matches nothing (%v)", pattern, err)
	}
	return files
}
