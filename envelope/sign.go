package envelope

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"sync"
)

// Sign returns the signature of a text: Base64 over RSASSA-PKCS1-v1_5 with
// SHA-256 over the bytes of text [D][C]. For a request text is requestData as
// sent, the Base64 and not what it decodes to: encrypt, then sign. For an
// answer it is [Response.SigningText].
func Sign(text string, key crypto.Signer) (string, error) {
	if _, ok := key.Public().(*rsa.PublicKey); !ok {
		return "", fmt.Errorf("sign: the key is %T, not RSA", key.Public())
	}
	digest := sha256.Sum256([]byte(text))
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sig), nil
}

// ErrSignature is the one failure of [Verify].
var ErrSignature = errors.New("envelope: the signature does not verify")

// Verify returns the index of the first key whose owner signed text. Every
// failure, having no key included, has the same text, and errors.Is finds
// [ErrSignature]; only [Explain] tells them apart. A failure costs one public
// operation of the signature's size even without a key to try, so that an
// unknown app does not answer faster than a known one.
func Verify(text, signature string, keys ...*rsa.PublicKey) (int, error) {
	if i, ok := verify(text, signature, keys); ok {
		return i, nil
	}
	return -1, &failure{ErrSignature, func() string { return ExplainSignature(text, signature, nil, keys...) }}
}

func verify(text, signature string, keys []*rsa.PublicKey) (int, bool) {
	sig, err := decodeBase64(signature)
	if err != nil {
		return -1, false
	}
	digest := sha256.Sum256([]byte(text))
	tried := false
	for i, key := range keys {
		if key.Size() != len(sig) {
			continue
		}
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], sig) == nil {
			return i, true
		}
		tried = true
	}
	if !tried {
		_ = rsa.VerifyPKCS1v15(decoy(len(sig)), crypto.SHA256, digest[:], sig)
	}
	return -1, false
}

// decoy returns a public key of the given size for its cost alone; a size
// outside 2048 to 8192 bits gets the nearest. What verifies under it counts for
// nothing, so it may be any odd number.
func decoy(modulusBytes int) *rsa.PublicKey {
	n := min(max(modulusBytes, minBits/8), maxBits/8)
	return &rsa.PublicKey{N: new(big.Int).SetBytes(decoyModulus()[:n]), E: 65537}
}

var decoyModulus = sync.OnceValue(func() []byte {
	var b []byte
	for sum := sha256.Sum256([]byte("decoy")); len(b) < maxBits/8; sum = sha256.Sum256(sum[:]) {
		b = append(b, sum[:]...)
	}
	for i := range b {
		b[i] |= 0x81 // odd, and of full length wherever it is cut
	}
	return b
})
