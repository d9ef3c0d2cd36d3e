package intake

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// LoadOrMakeHostKey reads the server's private key from path, or makes an ed25519 one there (OpenSSH format, mode
// 0600). A client that has seen a host key refuses another, so a file that cannot be read is never replaced.
func LoadOrMakeHostKey(path string) (ssh.Signer, error) {
	return loadOrMake(path, func() (crypto.PrivateKey, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	})
}

// LoadOrMakeOldHostKey is the same with an RSA key, for clients that know no other.
func LoadOrMakeOldHostKey(path string) (ssh.Signer, error) {
	return loadOrMake(path, func() (crypto.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 3072) })
}

func loadOrMake(path string, generate func() (crypto.PrivateKey, error)) (ssh.Signer, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = makeHostKey(path, generate)
	}
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("host key %s: %w", path, err)
	}
	return key, nil
}

// makeHostKey links the finished file into place, so that of two processes starting at once both use the first key.
func makeHostKey(path string, generate func() (crypto.PrivateKey, error)) ([]byte, error) {
	private, err := generate()
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "infinia sftp")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".hostkey-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(pem.EncodeToMemory(block))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}
