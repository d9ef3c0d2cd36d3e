package envelope_test

import (
	"encoding/base64"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openinfinia/infinia/envelope"
)

func TestVectors(t *testing.T) {
	for _, maker := range []string{"openssl", "jdk", "format"} {
		for _, file := range glob(t, "testdata/vectors/"+maker+"-*.txt") {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				t.Parallel()
				run(t, readVector(t, file))
			})
		}
	}
}

// vector is a file of testdata/vectors; its README explains the names.
type vector map[string][]string

func readVector(t testing.TB, file string) vector {
	t.Helper()
	v := vector{}
	for line := range strings.Lines(string(read(t, file))) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			t.Fatalf("%s: a line without a name: %.40q", file, line)
		}
		v[name] = append(v[name], strings.TrimPrefix(value, " "))
	}
	return v
}

func (v vector) get(name string) string {
	return strings.Join(v[name], "\n")
}

func (v vector) body(t testing.TB) []byte {
	t.Helper()
	if v["body"] != nil {
		return []byte(v.get("body"))
	}
	b, err := base64.StdEncoding.DecodeString(v.get("body-base64"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t *testing.T, v vector) {
	if v.get("about") == "" || v.get("made-by") == "" {
		t.Error("the vector does not tell what it is, or who made it")
	}
	parse := envelope.ParseRequest
	if v.get("form") == "notification" {
		parse = envelope.ParseNotification
	}
	r, err := parse(v.body(t))
	if v.get("expect") == "format" {
		checkFaults(t, r, err, v["fault"])
		return
	}
	if err != nil {
		t.Fatal(err)
	}

	verifyKey, err := envelope.ParsePublicKey(read(t, "testdata/keys/"+v.get("verify-key")))
	if err != nil {
		t.Fatal(err)
	}
	openKey, err := envelope.ParsePrivateKey(read(t, "testdata/keys/"+v.get("open-key")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = envelope.Verify(r.RequestData, r.Signature, verifyKey)
	if v.get("expect") == "signature" {
		checkFailure(t, err, envelope.ErrSignature, v.get("explain"))
		return
	}
	if err != nil {
		t.Fatal(envelope.Explain(err))
	}
	plain, err := envelope.Decrypt(r.RequestData, openKey)
	switch v.get("expect") {
	case "unreadable":
		checkFailure(t, err, envelope.ErrUnreadable, v.get("explain"))
	case "open":
		if err != nil {
			t.Fatal(envelope.Explain(err))
		}
		if diff := cmp.Diff(v.get("plain"), string(plain)); diff != "" {
			t.Error(diff)
		}
	default:
		t.Fatalf("expect: %q", v.get("expect"))
	}
}

func checkFaults(t *testing.T, r envelope.Request, err error, want []string) {
	t.Helper()
	var bad *envelope.FormatError
	if !errors.As(err, &bad) {
		t.Fatalf("got %v, want faults", err)
	}
	if r != (envelope.Request{}) {
		t.Errorf("a part came out: %+v", r)
	}
	var got []string
	for _, f := range bad.Faults {
		field := f.Field
		if field == "" {
			field = "body"
		}
		got = append(got, field+" "+f.Kind.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func checkFailure(t *testing.T, err, want error, explanation string) {
	t.Helper()
	if !errors.Is(err, want) || err.Error() != want.Error() {
		t.Fatalf("got %v, want %v", err, want)
	}
	if explanation == "" {
		t.Error("the vector has no explain line")
	}
	if got := envelope.Explain(err); !strings.Contains(got, explanation) {
		t.Errorf("explained as %q, want %q", got, explanation)
	}
}
