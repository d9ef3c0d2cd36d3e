package envelope

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// FullBlock makes Encrypt fill each block: modulus-11 bytes of plain text, the
// fewest private-key operations for the receiver [O].
const FullBlock = 0

// overhead is what RSAES-PKCS1-v1_5 takes of each block, in bytes.
const overhead = 11

// Encrypt seals UTF-8 text for the owner of to: RSAES-PKCS1-v1_5 blocks of
// blockBytes bytes of text each (the last may be shorter), concatenated, and
// one Base64 over all of them: standard alphabet, padded, no line breaks [C].
//
// blockBytes is 1 to modulus-11, or [FullBlock]. The original's clients use 64
// whatever the key [C]; a receiver cannot tell and need not know. Text that is
// empty or not UTF-8 is an error.
func Encrypt(plain []byte, to *rsa.PublicKey, blockBytes int) (string, error) {
	size := to.Size()
	if blockBytes == FullBlock {
		blockBytes = size - overhead
	}
	switch {
	case len(plain) == 0:
		return "", errors.New("encrypt: the text is empty")
	case !utf8.Valid(plain):
		return "", errors.New("encrypt: the text is not UTF-8")
	case blockBytes < 1 || blockBytes > size-overhead:
		return "", fmt.Errorf("encrypt: %d bytes a block: 1 to %d fit this key", blockBytes, size-overhead)
	}
	sealed := make([]byte, 0, (len(plain)+blockBytes-1)/blockBytes*size)
	for rest := plain; len(rest) > 0; {
		n := min(blockBytes, len(rest))
		//lint:ignore SA1019 the wire format is PKCS #1 v1.5; Verify and one single answer guard its known weakness
		block, err := rsa.EncryptPKCS1v15(rand.Reader, to, rest[:n])
		if err != nil {
			return "", fmt.Errorf("encrypt: %w", err)
		}
		sealed = append(sealed, block...)
		rest = rest[n:]
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// PrivateKey is what opening and signing need of an RSA key. *rsa.PrivateKey
// has it, and so may a faster engine or a hardware module. Decrypt with nil
// options must mean PKCS #1 v1.5, as the standard library's does, and be safe
// to call from several goroutines at once.
type PrivateKey interface {
	crypto.Signer
	crypto.Decrypter
}

// ErrUnreadable is the one failure of [Decrypt].
var ErrUnreadable = errors.New("envelope: the data cannot be read")

// Decrypt opens what [Encrypt] sealed, whatever its block size, with the first
// of the keys that can. Data that is not one standard padded Base64 without
// line breaks, a block cut short or without text, a block for another key, and
// text that is not UTF-8 are all the same failure: its text never differs,
// errors.Is finds [ErrUnreadable], and only [Explain] tells them apart. PKCS #1
// v1.5 is an oracle for whoever learns more, so callers answer a failure to
// read the text in the same way.
//
// A key that is tried costs [Blocks] private-key operations, failed or not, on
// at most GOMAXPROCS goroutines; a key whose modulus does not divide the data
// costs none. Data is not limited here. Call [Verify] first.
func Decrypt(data string, keys ...PrivateKey) ([]byte, error) {
	if raw, err := decodeBase64(data); err == nil {
		for _, key := range keys {
			if plain := join(openBlocks(raw, key)); plain != nil {
				return plain, nil
			}
		}
	}
	return nil, &failure{ErrUnreadable, func() string { return explainData(data, keys) }}
}

// Blocks tells how many private-key operations it takes to open data with a
// key of modulusBytes bytes (512 for 4096 bits), rounded up, without decoding
// it. It panics when modulusBytes is 0.
func Blocks(data string, modulusBytes int) int {
	digits := len(strings.TrimRight(data, "="))
	return (digits*3/4 + modulusBytes - 1) / modulusBytes
}

// openBlocks returns the text of each block, nil for one that does not open,
// and no blocks when the data cannot be for this key. It opens all of them
// even after a failure, so that the time does not tell which one failed.
func openBlocks(raw []byte, key PrivateKey) [][]byte {
	size := modulusSize(key)
	if size == 0 || len(raw)%size != 0 {
		return nil
	}
	texts := make([][]byte, len(raw)/size)
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(texts); i = int(next.Add(1)) - 1 {
			if text, err := key.Decrypt(rand.Reader, raw[i*size:(i+1)*size], nil); err == nil {
				texts[i] = text
			}
		}
	}
	var others sync.WaitGroup
	for range min(len(texts), runtime.GOMAXPROCS(0)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	return texts
}

// join returns the whole text, or nil. The check for UTF-8 is more than form.
// One time in about 10^5 a block opens under a wrong key, as noise, and while a
// platform key is being replaced the right one is next in line. And padding
// that is right by accident then takes as long as padding that is wrong.
func join(texts [][]byte) []byte {
	for _, text := range texts {
		if len(text) == 0 {
			return nil
		}
	}
	plain := bytes.Join(texts, nil)
	if len(plain) == 0 || !utf8.Valid(plain) {
		return nil
	}
	return plain
}

// modulusSize returns a key's modulus in bytes, and 0 when it is not RSA.
func modulusSize(key PrivateKey) int {
	pub, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		return 0
	}
	return pub.Size()
}

// decodeBase64 takes the one form that the wire has; Strict alone would let
// line breaks pass.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line breaks")
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}
