package envelope

import (
	"bytes"
	"crypto"
	_ "crypto/md5" //nolint:gosec // only to recognise it in what a partner sent
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
)

// Explain tells a developer why [Verify] or [Decrypt] failed and what to do, in
// one line without plain text or key material. It is "" for any other error.
//
// It is for the sandbox and the log only: it does the work of guessing when it
// is called, private-key operations included, and whoever learns the answer to
// chosen data can decrypt what others sent.
func Explain(err error) string {
	var f *failure
	if !errors.As(err, &f) {
		return ""
	}
	return f.explain()
}

// failure is one public error with its private reason. The reason is a function
// so that no way of printing the error shows keys or data, and so that a failure
// takes no longer for being explained.
type failure struct {
	public  error
	explain func() string
}

func (f *failure) Error() string { return f.public.Error() }
func (f *failure) Unwrap() error { return f.public }

// explainData says why none of the keys opened data.
func explainData(data string, keys []PrivateKey) string {
	if data == "" {
		return "the data is empty: encrypt the JSON text into it"
	}
	if s := strings.TrimSpace(data); strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		return "the data is plain text: encrypt it with the receiver's public key, then encode it as Base64"
	}
	raw, form := looseBase64(data)
	if form != "" {
		return "the data is " + form + ": " + oneForm
	}
	if len(keys) == 0 {
		return "there is no private key to open the data with"
	}
	if twice, err := decodeBase64(string(raw)); err == nil && len(twice) > 0 {
		return "the data is Base64 of Base64: encode the encrypted bytes once"
	}
	var reasons []string
	for _, key := range keys {
		reason := explainKey(raw, key)
		if len(keys) > 1 {
			if pub, ok := key.Public().(*rsa.PublicKey); ok {
				reason = Fingerprint(pub) + ": " + reason
			}
		}
		reasons = append(reasons, reason)
	}
	return strings.Join(reasons, "; ")
}

const oneForm = "use the standard alphabet, padded, without line breaks"

// explainKey says why one key did not open the decoded data.
func explainKey(raw []byte, key PrivateKey) string {
	size := modulusSize(key)
	if size == 0 {
		return fmt.Sprintf("the private key is %T, not RSA", key.Public())
	}
	if len(raw)%size != 0 {
		s := fmt.Sprintf("%d-byte blocks expected, %d bytes came: ", size, len(raw))
		for _, other := range []int{256, 384, 512} {
			if len(raw)%other == 0 {
				return s + fmt.Sprintf("encrypted for a key of %d bits?", other*8)
			}
		}
		return s + "last block cut"
	}
	texts := openBlocks(raw, key)
	opened, empty := 0, 0
	for _, text := range texts {
		if text != nil {
			opened++
			if len(text) == 0 {
				empty++
			}
		}
	}
	switch {
	case opened == len(texts) && empty > 0:
		return "a block holds no text: put 1 to " + fmt.Sprint(size-overhead) + " bytes into each"
	case opened == len(texts):
		return "it opens, but the text is not UTF-8"
	case opened > 0:
		return fmt.Sprintf("%d of %d blocks open: the others are damaged, or for another key", opened, len(texts))
	}
	for _, o := range []struct {
		name string
		opts rsa.OAEPOptions
	}{
		{"SHA-1", rsa.OAEPOptions{Hash: crypto.SHA1}},
		{"SHA-256", rsa.OAEPOptions{Hash: crypto.SHA256}},
		{"SHA-256 and MGF1 SHA-1, as Java has it", rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.SHA1}},
	} {
		if _, err := key.Decrypt(rand.Reader, raw[:size], &o.opts); err == nil {
			return "the padding is OAEP with " + o.name + ": use PKCS #1 v1.5 (RSA/ECB/PKCS1Padding)"
		}
	}
	return "encrypted for another key, or with another padding; the right public key is " + Fingerprint(key.Public().(*rsa.PublicKey))
}

// ExplainSignature tells a developer, in one line, why [Verify] fails: it opens
// the signature with each key and tries the usual mistakes on what it finds.
// plain is the decrypted text when that is known, else nil. It returns "" when
// the signature verifies. Like [Explain] it is for the sandbox and the log.
func ExplainSignature(text, signature string, plain []byte, keys ...*rsa.PublicKey) string {
	if signature == "" {
		return "the signature is empty"
	}
	if len(keys) == 0 {
		return "there is no public key to verify with"
	}
	sig, form := looseBase64(signature)
	if form != "" {
		form = "the signature is " + form + ": " + oneForm
	}
	var sizes []string
	for _, key := range keys {
		if len(sig) != key.Size() {
			sizes = append(sizes, fmt.Sprint(key.Size()))
			continue
		}
		method, found := openSignature(sig, key, candidates(text, plain))
		switch {
		case found && method == "" && form == "":
			return ""
		case found:
			return joinReasons(form, method)
		}
	}
	switch {
	case sig == nil:
		return form
	case len(sizes) == len(keys):
		return joinReasons(form, fmt.Sprintf("the signature has %d bytes, the registered key makes %s: signed with another key", len(sig), strings.Join(sizes, " or ")))
	}
	return joinReasons(form, "signed with another private key than that of "+fingerprints(keys)+", or with another padding")
}

// signed is a text that somebody may have signed, and how to say so.
type signed struct {
	text []byte
	what string // "" is the right one
}

func candidates(text string, plain []byte) []signed {
	sum := sha256.Sum256([]byte(text))
	list := []signed{
		{[]byte(text), ""},
		{[]byte(text + "\n"), "the text with a line end: sign the Base64 text alone (printf, not echo)"},
		{[]byte(url.QueryEscape(text)), "the URL-encoded text: sign the Base64 text itself"},
		{sum[:], "the SHA-256 of the text: give the signer the text, it hashes by itself"},
		{[]byte(hex.EncodeToString(sum[:])), "the hex SHA-256 of the text: give the signer the text, it hashes by itself"},
	}
	if decoded, err := decodeBase64(text); err == nil {
		list = append(list, signed{decoded, "the decoded bytes: sign the Base64 text of requestData"})
	}
	if len(plain) > 0 {
		list = append(list, signed{plain, "the plain text: sign the Base64 text of requestData, after encrypting"})
	}
	return list
}

// openSignature reports whether the owner of key made sig, and if so what to
// change: "" when nothing.
func openSignature(sig []byte, key *rsa.PublicKey, texts []signed) (change string, found bool) {
	hashes := []struct {
		name   string
		hash   crypto.Hash
		prefix string // of DigestInfo, RFC 8017 section 9.2
	}{
		{"SHA-256", crypto.SHA256, "3031300d060960864801650304020105000420"},
		{"SHA-1", crypto.SHA1, "3021300906052b0e03021a05000414"},
		{"MD5", crypto.MD5, "3020300c06082a864886f70d020505000410"},
	}
	payload, isV15 := unpad(sig, key)
	for _, h := range hashes {
		prefix, _ := hex.DecodeString(h.prefix)
		for _, t := range texts {
			hash := h.hash.New()
			hash.Write(t.text)
			digest := hash.Sum(nil)
			use := ""
			if h.name != "SHA-256" {
				use = "hashed with " + h.name + ": use SHA256withRSA"
			}
			switch {
			case bytes.Equal(payload, append(prefix, digest...)):
			case bytes.Equal(payload, digest):
				use = "a bare " + h.name + " without its DigestInfo: use SHA256withRSA"
			case bytes.Equal(payload, t.text) && len(t.text) > 0:
				use = "not hashed: use SHA256withRSA"
			case !isV15 && rsa.VerifyPSS(key, h.hash, digest, sig, nil) == nil:
				use = "padded with PSS: use PKCS #1 v1.5 (SHA256withRSA)"
			default:
				continue
			}
			what := ""
			if t.what != "" {
				what = "signature verifies over " + t.what
			}
			return joinReasons(use, what), true
		}
		if rest, ok := bytes.CutPrefix(payload, prefix); ok && len(rest) == h.hash.Size() {
			return "made by the registered key with " + h.name + ", over another text: sign requestData exactly as it is sent, after encrypting", true
		}
	}
	if isV15 {
		return "made by the registered key, with another hash or over another text: use SHA256withRSA over requestData as it is sent", true
	}
	return "", false
}

// unpad does the public operation and strips 00 01 FF..FF 00, which only the
// owner of the key can have put there.
func unpad(sig []byte, key *rsa.PublicKey) ([]byte, bool) {
	m := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(key.E)), key.N)
	block := m.FillBytes(make([]byte, key.Size()))
	rest, ok := bytes.CutPrefix(block, []byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if !ok {
		return nil, false
	}
	return bytes.CutPrefix(bytes.TrimLeft(rest, "\xff"), []byte{0})
}

// looseBase64 decodes what was meant as Base64 and names the form when it is not
// the wire's; nil when it is none at all.
func looseBase64(s string) (raw []byte, form string) {
	if raw, err := hex.DecodeString(s); err == nil && len(raw) >= minBits/8 {
		return raw, "hex, not Base64" // as Base64 it decodes too
	}
	raw, err := decodeBase64(s)
	if err == nil {
		return raw, ""
	}
	form = "not Base64"
	if unescaped, err := url.PathUnescape(s); err == nil && unescaped != s {
		s, form = unescaped, "URL-encoded"
	}
	if stripped := strings.Join(strings.Fields(s), ""); stripped != s {
		s, form = stripped, "Base64 with white space or line breaks"
	}
	if strings.ContainsAny(s, "-_") {
		s, form = strings.NewReplacer("-", "+", "_", "/").Replace(s), "URL-safe Base64"
	}
	bare := strings.TrimRight(s, "=")
	if strings.Contains(bare, "=") {
		return nil, "several Base64 texts in one (concatenate the encrypted blocks, then encode once)"
	}
	raw, err = base64.RawStdEncoding.DecodeString(bare)
	switch {
	case err != nil:
		return nil, "not Base64"
	case form == "not Base64":
		form = "Base64 with wrong padding"
	}
	return raw, form
}

func joinReasons(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

func fingerprints(keys []*rsa.PublicKey) string {
	var list []string
	for _, key := range keys {
		list = append(list, Fingerprint(key))
	}
	return strings.Join(list, ", ")
}
