package content

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Keys are what chunks are encrypted under at rest: the first writes, all read. Without any, chunks are written in clear;
// those that are in clear can always be read.
type Keys struct {
	all  []key
	lost []string // ids: what is under them will never be read again
}

type key struct {
	id   string
	aead cipher.AEAD // puts a random nonce in front of what it seals
}

const keySize = 32

// ParseKeys reads a line for each key: 32 bytes in hex or base64, or "lost" and the id of one that nobody has any more. The
// first key is the one that writes. No error tells what is in a line.
func ParseKeys(r io.Reader) (Keys, error) {
	var k Keys
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if id, ok := strings.CutPrefix(text, "lost "); ok {
			k.lost = append(k.lost, strings.TrimSpace(id))
			continue
		}
		raw, err := hex.DecodeString(text)
		if err != nil {
			raw, err = base64.StdEncoding.DecodeString(text)
		}
		if err != nil || len(raw) != keySize {
			return Keys{}, fmt.Errorf("line %d: want %d random bytes in hex or base64, as openssl rand -hex %[2]d prints them", n, keySize)
		}
		made, err := newKey(raw)
		if err != nil {
			return Keys{}, err
		}
		if _, ok := k.find(made.id); ok {
			return Keys{}, fmt.Errorf("line %d: the key %s is there twice", n, made.id)
		}
		k.all = append(k.all, made)
	}
	if err := lines.Err(); err != nil {
		return Keys{}, errors.New("a line is too long for a key")
	}
	if len(k.all) == 0 {
		return Keys{}, errors.New("there is no key in it; openssl rand -hex 32 makes one")
	}
	return k, nil
}

// newKey makes a key; its id is a fingerprint, which tells nothing of it.
func newKey(raw []byte) (key, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, err
	}
	sum := sha256.Sum256(append([]byte("infinia content key\x00"), raw...))
	return key{hex.EncodeToString(sum[:8]), aead}, nil
}

// First is the id of the key that writes; empty when there is none.
func (k Keys) First() string {
	if len(k.all) == 0 {
		return ""
	}
	return k.all[0].id
}

func (k Keys) find(id string) (key, bool) {
	for _, key := range k.all {
		if key.id == id {
			return key, true
		}
	}
	return key{}, false
}

// bound is what a chunk is bound to: in another place it does not open.
func bound(id, no int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(id)), uint64(no))
}

// seal encrypts a chunk's data under the first key.
func (k Keys) seal(id, no int64, data []byte) (sealed []byte, keyID string) {
	if len(k.all) == 0 {
		return data, ""
	}
	return k.all[0].aead.Seal(nil, nil, data, bound(id, no)), k.all[0].id
}

// ErrKeyMissing says that a chunk is encrypted under a key that was not given.
var ErrKeyMissing = errors.New("the key is not among those of the content key file")

// open decrypts what seal has made, and passes on what is in clear.
func (k Keys) open(id, no int64, chunk pgdb.GetContentChunkRow) ([]byte, error) {
	if chunk.KeyID == "" {
		return chunk.Data, nil
	}
	key, ok := k.find(chunk.KeyID)
	if !ok {
		return nil, fmt.Errorf("chunk %d of content %d is encrypted under key %s: %w", no, id, chunk.KeyID, ErrKeyMissing)
	}
	return key.aead.Open(nil, nil, chunk.Data, bound(id, no))
}

// Check says whether all contents can be read, as far as keys are needed for it.
func (k Keys) Check(ctx context.Context, db *store.DB) error {
	var ids []string
	if err := db.Read(ctx, func(q *pgdb.Queries) (err error) { ids, err = q.ListChunkKeys(ctx); return err }); err != nil {
		return err
	}
	for _, id := range ids {
		if !k.opens(id) {
			return fmt.Errorf("files are kept encrypted under key %s: %w: put the key back into it, or, when nobody has it any more, the line \"lost %[1]s\"", id, ErrKeyMissing)
		}
	}
	return nil
}

// Use is how many chunks are under a key, and what the key is good for here.
type Use struct {
	KeyID  string // empty: in clear
	Chunks int64
	Use    string // writes, reads, lost, missing
}

// Uses lists all keys that are given, lost, or used by what is kept.
func (k Keys) Uses(ctx context.Context, q *pgdb.Queries) ([]Use, error) {
	rows, err := q.CountChunksByKey(ctx)
	if err != nil {
		return nil, err
	}
	var uses []Use
	add := func(id string, chunks int64) {
		if slices.ContainsFunc(uses, func(u Use) bool { return u.KeyID == id }) {
			return
		}
		use := "reads"
		switch {
		case id == k.First():
			use = "writes"
		case slices.Contains(k.lost, id):
			use = "lost"
		case !k.opens(id):
			use = "missing"
		}
		uses = append(uses, Use{id, chunks, use})
	}
	for _, r := range rows {
		add(r.KeyID, r.Chunks)
	}
	for _, key := range k.all {
		add(key.id, 0)
	}
	return uses, nil
}

// opens says whether what is under a key can be read, or is known to be lost.
func (k Keys) opens(id string) bool {
	_, ok := k.find(id)
	return ok || id == "" || slices.Contains(k.lost, id)
}
