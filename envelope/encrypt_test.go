package envelope_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/openinfinia/infinia/envelope"
)

// binding is the documented Account Binding example.
const binding = `{"requestNo":"ABR-20250903-0001","sellerId":"SELLER-123456","sellerCertNo":"91310108MA1KXXXXXX","sellerName":"Acme Trading Ltd.","storeName":"Acme Official Store","storeUrl":"https://store.example.com/acme","entityType":"Corporate","country":"CHN","currency":"CNH","note":"First-time binding","backlinkUrl":"https://merchant.example.com/seller/SELLER-123456"}`

func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"platform-2048", "platform-3072", "platform-4096", "platform-8192"} {
		key := testKey(t, name)
		full := key.Size() - 11
		for _, tt := range []struct{ textBytes, blockBytes, blocks int }{
			{1, envelope.FullBlock, 1},
			{full, envelope.FullBlock, 1},
			{full + 1, envelope.FullBlock, 2},
			{full, full, 1},
			{64, 64, 1},
			{65, 64, 2},
			{3, 1, 3},
		} {
			t.Run(fmt.Sprintf("%s/%d-by-%d", name, tt.textBytes, tt.blockBytes), func(t *testing.T) {
				t.Parallel()
				want := []byte(strings.Repeat("x", tt.textBytes))
				data, err := envelope.Encrypt(want, &key.PublicKey, tt.blockBytes)
				if err != nil {
					t.Fatal(err)
				}
				if n := envelope.Blocks(data, key.Size()); n != tt.blocks {
					t.Errorf("%d blocks, want %d", n, tt.blocks)
				}
				got, err := envelope.Decrypt(data, key)
				if err != nil {
					t.Fatal(envelope.Explain(err))
				}
				if !bytes.Equal(got, want) {
					t.Errorf("got %q", got)
				}
			})
		}
	}
}

func TestBindingExampleIs4096Characters(t *testing.T) {
	data, err := envelope.Encrypt([]byte(binding), &testKey(t, "platform-4096").PublicKey, 64)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != 4096 {
		t.Errorf("%d characters", len(data))
	}
}

func TestEncryptRefuses(t *testing.T) {
	key := &testKey(t, "platform-2048").PublicKey
	for name, tt := range map[string]struct {
		text       string
		blockBytes int
		want       string
	}{
		"Empty":         {"", 64, "empty"},
		"NotUTF8":       {"\xff", 64, "UTF-8"},
		"TooLarge":      {"x", 246, "1 to 245"},
		"NegativeBlock": {"x", -1, "1 to 245"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := envelope.Encrypt([]byte(tt.text), key, tt.blockBytes)
			if err == nil || !strings.Contains(err.Error(), tt.want) || data != "" {
				t.Errorf("got %q, %v", data, err)
			}
		})
	}
}

func TestDecryptHasOneFailure(t *testing.T) {
	key, other := testKey(t, "platform-2048"), testKey(t, "client-2048")
	data, err := envelope.Encrypt([]byte("text"), &key.PublicKey, 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() ([]byte, error){
		"NoKey":      func() ([]byte, error) { return envelope.Decrypt(data) },
		"WrongKey":   func() ([]byte, error) { return envelope.Decrypt(data, other) },
		"WrongSize":  func() ([]byte, error) { return envelope.Decrypt(data, testKey(t, "platform-4096")) },
		"NotRSA":     func() ([]byte, error) { return envelope.Decrypt(data, notRSA{key}) },
		"Empty":      func() ([]byte, error) { return envelope.Decrypt("", key) },
		"HalfABlock": func() ([]byte, error) { return envelope.Decrypt(data[:400], key) },
		"LineBreak":  func() ([]byte, error) { return envelope.Decrypt(data[:64]+"\n"+data[64:], key) },
		"Garbage":    func() ([]byte, error) { return envelope.Decrypt("%%%", key) },
	} {
		t.Run(name, func(t *testing.T) {
			plain, err := try()
			if plain != nil {
				t.Errorf("got text %q", plain)
			}
			if !errors.Is(err, envelope.ErrUnreadable) || err.Error() != envelope.ErrUnreadable.Error() {
				t.Errorf("got %v", err)
			}
			if s := fmt.Sprintf("%+v %#v", err, err); len(s) > 300 {
				t.Errorf("printing the error shows its inside: %s", s)
			}
			if envelope.Explain(err) == "" {
				t.Error("no explanation")
			}
		})
	}
}

func TestDecryptTriesKeysInOrder(t *testing.T) {
	old, now := testKey(t, "client-2048"), testKey(t, "platform-2048")
	data, err := envelope.Encrypt([]byte("text"), &now.PublicKey, envelope.FullBlock)
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string][]envelope.PrivateKey{
		"AfterSameSize":    {old, now},
		"AfterAnotherSize": {testKey(t, "platform-4096"), now},
		// A wrong key opens noise now and then; the right one is still next.
		"AfterNoise": {noise{old}, now},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := envelope.Decrypt(data, keys...); string(got) != "text" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestDecryptOpensEveryBlock(t *testing.T) {
	key, other := testKey(t, "platform-2048"), testKey(t, "client-2048")
	data, err := envelope.Encrypt([]byte("12345"), &other.PublicKey, 1)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{}, 100)
	if _, err := envelope.Decrypt(data, counting{key, opened}); err == nil {
		t.Error("opened with a wrong key")
	}
	if len(opened) != 5 {
		t.Errorf("%d of 5 blocks were opened", len(opened))
	}
}

func TestBlocks(t *testing.T) {
	for _, tt := range []struct{ bytes, modulus, want int }{
		{0, 512, 0}, {1, 512, 1}, {511, 512, 1}, {512, 512, 1}, {513, 512, 2}, {512, 256, 2}, {3072, 512, 6}, {384, 384, 1},
	} {
		data := base64Of(make([]byte, tt.bytes))
		if got := envelope.Blocks(data, tt.modulus); got != tt.want {
			t.Errorf("%d bytes by %d: %d blocks, want %d", tt.bytes, tt.modulus, got, tt.want)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	key := testKey(b, "platform-4096")
	for _, blockBytes := range []int{envelope.FullBlock, 64} {
		data, err := envelope.Encrypt([]byte(binding), &key.PublicKey, blockBytes)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("4096/blocks=%d", envelope.Blocks(data, key.Size())), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := envelope.Decrypt(data, key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// notRSA is a key whose public half is of another kind.
type notRSA struct{ *rsa.PrivateKey }

func (notRSA) Public() crypto.PublicKey { return "another kind" }

// noise is a key under which every block opens as what is not text.
type noise struct{ *rsa.PrivateKey }

func (noise) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) {
	return []byte{0xff, 0x00}, nil
}

// counting is a key that counts what it is asked to open.
type counting struct {
	*rsa.PrivateKey
	opened chan<- struct{}
}

func (c counting) Decrypt(r io.Reader, block []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	c.opened <- struct{}{}
	return c.PrivateKey.Decrypt(r, block, opts)
}
