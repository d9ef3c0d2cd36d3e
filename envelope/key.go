package envelope

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// The sizes of RSA key that the system takes, in bits [O]; the original's
// clients have 4096 [C].
const (
	minBits = 2048
	maxBits = 8192
)

// ParsePrivateKey reads an RSA private key of 2048 to 8192 bits, PKCS#8 or
// PKCS#1, as PEM, DER or the bare Base64 of the DER. White space, line breaks
// of any system, literal \n, a byte-order mark and text around the PEM do no
// harm. The error says what the bytes hold instead, and never quotes them.
func ParsePrivateKey(b []byte) (*rsa.PrivateKey, error) {
	der, err := keyDER(b, "PRIVATE KEY")
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		parsed, err = x509.ParsePKCS1PrivateKey(der)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("private key: this is %s", whatIs(der))
	}
	if err := checkPublic(&key.PublicKey); err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return key, nil
}

// ParsePublicKey reads an RSA public key of 2048 to 8192 bits: SPKI, PKCS#1 or
// an X.509 certificate (whose dates and issuer do not matter here), in the same
// forms as [ParsePrivateKey].
func ParsePublicKey(b []byte) (*rsa.PublicKey, error) {
	der, err := keyDER(b, "PUBLIC KEY", "CERTIFICATE")
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	var parsed any
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		parsed = key
	} else if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		parsed = key
	} else if cert, err := x509.ParseCertificate(der); err == nil {
		parsed = cert.PublicKey
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key: this is %s", whatIs(der))
	}
	if err := checkPublic(key); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return key, nil
}

// MarshalPrivateKey returns the key as PKCS#8 PEM.
func MarshalPrivateKey(key *rsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // only a key that was never a key
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// MarshalPublicKey returns the key as SPKI PEM.
func MarshalPublicKey(key *rsa.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(key)})
}

// Fingerprint names a public key for people: "SHA256:" and the unpadded Base64
// of the SHA-256 of its SPKI DER.
func Fingerprint(key *rsa.PublicKey) string {
	sum := sha256.Sum256(spki(key))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

func spki(key *rsa.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // only a key that was never a key
	}
	return der
}

func checkPublic(key *rsa.PublicKey) error {
	switch bits := key.N.BitLen(); {
	case bits < minBits:
		return fmt.Errorf("an RSA key of %d bits, at least %d are needed", bits, minBits)
	case bits > maxBits:
		return fmt.Errorf("an RSA key of %d bits, at most %d are allowed", bits, maxBits)
	case key.N.Bit(0) == 0, key.E < 3, key.E%2 == 0, int64(key.E) > 1<<31-1:
		return errors.New("no RSA key has these numbers: damaged")
	}
	return nil
}

// keyDER strips the outer form of a key. Of several PEM blocks it takes the
// first whose label ends in one of those wanted, or else the first of all, which
// then says what was given instead. It is laxer than encoding/pem, which does
// not take a PEM that lost its line breaks in an environment variable.
func keyDER(b []byte, wanted ...string) ([]byte, error) {
	if len(b) > 1 && b[0] == 0x30 && b[1] >= 0x80 {
		return b, nil
	}
	s := asText(b)
	switch {
	case s == "":
		return nil, errors.New("nothing was given")
	case strings.HasPrefix(s, "ssh-"), strings.HasPrefix(s, "ecdsa-"):
		return nil, errors.New("this is an OpenSSH public key: convert it with ssh-keygen -e -m PKCS8")
	case !strings.Contains(s, "-----BEGIN "):
		return lax(s, "this is neither PEM nor DER nor the Base64 of DER")
	}
	label, body, err := pemBlock(s, wanted)
	if err != nil {
		return nil, err
	}
	switch {
	case label == "ENCRYPTED PRIVATE KEY", strings.Contains(body, "ENCRYPTED"):
		return nil, errors.New("this is " + encryptedKey)
	case label == "OPENSSH PRIVATE KEY":
		return nil, errors.New("this is an OpenSSH private key: convert it with ssh-keygen -p -m PKCS8")
	}
	return lax(body, "the PEM block "+label+" is not the Base64 of DER: damaged")
}

const encryptedKey = "an encrypted private key: decrypt it first with openssl pkcs8"

// pemBlock returns label and body of the block that keyDER describes.
func pemBlock(s string, wanted []string) (label, body string, err error) {
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "-----BEGIN ")
		if !found {
			return label, body, nil
		}
		l, after, _ := strings.Cut(after, "-----")
		text, after, closed := strings.Cut(after, "-----END "+l+"-----")
		if !closed {
			return "", "", errors.New("the PEM has no END line: cut short")
		}
		for _, w := range wanted {
			if strings.HasSuffix(l, w) {
				return l, text, nil
			}
		}
		if label == "" {
			label, body = l, text
		}
		rest = after
	}
}

// asText takes the marks of Windows away: UTF-16, which PowerShell writes, and
// the byte-order mark.
func asText(b []byte) string {
	if bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		b = bytes.ReplaceAll(b[2:], []byte{0}, nil)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	return string(bytes.TrimSpace(b))
}

// lax decodes the Base64 of DER whatever white space and padding it has.
func lax(s, otherwise string) ([]byte, error) {
	s = strings.NewReplacer(`\r`, "", `\n`, "").Replace(s)
	s = strings.TrimRight(strings.Join(strings.Fields(s), ""), "=")
	der, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(der) == 0 || der[0] != 0x30 {
		return nil, errors.New(otherwise)
	}
	return der, nil
}

// whatIs names what DER holds, for somebody who sent the wrong file.
func whatIs(der []byte) string {
	if _, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return "an RSA private key"
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return algorithm(key) + " private key"
	}
	if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		return algorithm(key) + " public key"
	}
	if cert, err := x509.ParseCertificate(der); err == nil {
		return "a certificate of " + algorithm(cert.PublicKey) + " public key"
	}
	if _, err := x509.ParseECPrivateKey(der); err == nil {
		return "an EC private key"
	}
	if _, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return "an RSA public key"
	}
	if _, err := x509.ParseCertificateRequest(der); err == nil {
		return "a certificate request"
	}
	var pkcs12 struct {
		Version       int
		AuthSafe, MAC asn1.RawValue
	}
	if _, err := asn1.Unmarshal(der, &pkcs12); err == nil && pkcs12.Version == 3 {
		return "a PKCS#12 file: take the key out with openssl pkcs12 -nodes"
	}
	var encrypted struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if _, err := asn1.Unmarshal(der, &encrypted); err == nil {
		return encryptedKey
	}
	return "no key that is known here, or a damaged one"
}

func algorithm(key any) string {
	switch key.(type) {
	case *rsa.PrivateKey, *rsa.PublicKey:
		return "an RSA"
	case *ecdsa.PrivateKey, *ecdsa.PublicKey:
		return "an EC"
	case ed25519.PrivateKey, ed25519.PublicKey:
		return "an Ed25519"
	}
	return fmt.Sprintf("a %T", key)
}
