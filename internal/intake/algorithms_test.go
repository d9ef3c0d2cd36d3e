package intake

import (
	"crypto/rand"
	"crypto/rsa"
	"path/filepath"
	"testing"
)

// TestOldAlgorithms: a client that insists on one of them is refused, and let in where there is an old host key.
func TestOldAlgorithms(t *testing.T) {
	t.Parallel()
	modern, old := newRig(t, Settings{}), newRig(t, Settings{})
	path := filepath.Join(t.TempDir(), "sftp_host_key_rsa")
	key, err := LoadOrMakeOldHostKey(path)
	try(t, err)
	again, err := LoadOrMakeOldHostKey(path)
	try(t, err)
	if string(key.PublicKey().Marshal()) != string(again.PublicKey().Marshal()) {
		t.Error("the old host key changed")
	}
	old.cfg.OldHostKey = key
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	try(t, err)
	signer, file := keyFile(t, private)
	log, _ := modern.watch()
	for _, r := range []*rig{modern, old} {
		r.keys["demo"], r.files["demo"] = signer, file // by RSA, which has both
		r.start()
	}
	for _, option := range []string{
		"KexAlgorithms=diffie-hellman-group14-sha1",
		"KexAlgorithms=diffie-hellman-group14-sha256",
		"KexAlgorithms=diffie-hellman-group-exchange-sha256",
		"HostKeyAlgorithms=ssh-rsa",
		"HostKeyAlgorithms=rsa-sha2-256",
		"PubkeyAcceptedAlgorithms=ssh-rsa",
		"Ciphers=aes128-cbc",
		"MACs=hmac-sha1",
	} {
		args := []string{"-o", option}
		if option == "MACs=hmac-sha1" {
			args = append(args, "-o", "Ciphers=aes128-ctr") // the others have none
		}
		cmd, _ := modern.openssh("demo", "ls /", args...)
		if err := cmd.Run(); err == nil {
			t.Errorf("%s is accepted by default", option)
		}
		again, out := old.openssh("demo", "ls /", args...)
		if err := again.Run(); err != nil {
			t.Errorf("%s, where old ones are allowed: %v\n%s", option, err, out)
		}
	}
	if log.count("sftp client knows none of the algorithms") == 0 {
		t.Error("the operator is not told of a client that is too old")
	}
	// What is broken stays out.
	for _, option := range []string{"KexAlgorithms=diffie-hellman-group1-sha1", "KexAlgorithms=diffie-hellman-group-exchange-sha1", "Ciphers=3des-cbc", "MACs=hmac-md5"} {
		args := []string{"-o", option}
		if option == "MACs=hmac-md5" {
			args = append(args, "-o", "Ciphers=aes128-ctr")
		}
		cmd, _ := old.openssh("demo", "ls /", args...)
		if err := cmd.Run(); err == nil {
			t.Errorf("%s is accepted", option)
		}
	}
	// A client that can do better sees no difference: the host key that it knows, first of all.
	for _, r := range []*rig{modern, old} {
		cmd, out := r.openssh("demo", "ls /", "-o", "HostKeyAlgorithms=ssh-ed25519")
		if err := cmd.Run(); err != nil {
			t.Errorf("a modern client: %v\n%s", err, out)
		}
	}
}
