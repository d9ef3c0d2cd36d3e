package envelope_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/needs"
)

// What we seal must open with the tools that integrators have. The vectors
// prove the other direction.

const (
	openKeyFile   = "testdata/keys/test-platform-4096.pem"
	verifyKeyFile = "testdata/keys/test-client-4096.pub.pem"
)

func TestOpenSSLOpensOurs(t *testing.T) {
	needs.Program(t, "openssl")
	for _, blockBytes := range []int{envelope.FullBlock, 64} {
		t.Run(strconv.Itoa(blockBytes), func(t *testing.T) {
			data, signature := seal(t, blockBytes)
			dir := t.TempDir()
			text := write(t, dir, "text", []byte(data))
			sig := write(t, dir, "signature", decode(t, signature))
			command(t, "openssl", "dgst", "-sha256", "-verify", verifyKeyFile, "-signature", sig, text)

			var plain []byte
			raw := decode(t, data)
			for size := testKey(t, "platform-4096").Size(); len(raw) > 0; raw = raw[size:] {
				block := write(t, dir, "block", raw[:size])
				plain = append(plain, command(t, "openssl", "pkeyutl", "-decrypt", "-inkey", openKeyFile,
					"-pkeyopt", "rsa_padding_mode:pkcs1", "-in", block)...)
			}
			if string(plain) != binding {
				t.Errorf("got %s", plain)
			}
		})
	}
}

func TestJDKOpensOurs(t *testing.T) {
	needs.Program(t, "java")
	for _, blockBytes := range []int{envelope.FullBlock, 64} {
		t.Run(strconv.Itoa(blockBytes), func(t *testing.T) {
			t.Parallel()
			data, signature := seal(t, blockBytes)
			plain := command(t, "java", "testdata/interop/Open.java", openKeyFile, verifyKeyFile, data, signature)
			if string(plain) != binding {
				t.Errorf("got %s", plain)
			}
		})
	}
}

// seal makes the documented binding request.
func seal(t *testing.T, blockBytes int) (data, signature string) {
	t.Helper()
	data, err := envelope.Encrypt([]byte(binding), &testKey(t, "platform-4096").PublicKey, blockBytes)
	if err != nil {
		t.Fatal(err)
	}
	signature, err = envelope.Sign(data, testKey(t, "client-4096"))
	if err != nil {
		t.Fatal(err)
	}
	return data, signature
}

func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return out
}

func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
