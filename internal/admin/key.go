package admin

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Key is a key of an app: its public half. Retired keys stay, so that none can be registered again.
type Key struct {
	ID          ID        `json:"id"`
	AppID       string    `json:"appId"`
	Owner       string    `json:"owner" enum:"client,platform,sftp"`
	Fingerprint string    `json:"fingerprint"`
	PublicKey   string    `json:"publicKey" doc:"PEM, or for sftp a line of authorized_keys"`
	Primary     bool      `json:"primary" doc:"client: webhooks are encrypted to it; platform: it signs"`
	CreatedAt   time.Time `json:"createdAt"`
	FirstUsedAt time.Time `json:"firstUsedAt,omitzero" doc:"when it first signed an accepted request"`
	RetiredAt   time.Time `json:"retiredAt,omitzero"`
}

// NewKey registers a public key, or has a pair made.
type NewKey struct {
	Act
	Owner     string `json:"owner" enum:"client,platform,sftp"`
	PublicKey string `json:"publicKey,omitempty" maxLength:"16384" doc:"client: PEM, DER in Base64 or a certificate; sftp: a line of authorized_keys, or PEM"`
	Generate  bool   `json:"generate,omitempty" doc:"make a pair: for platform its private half stays in the server; for client, in the sandbox only, it is answered once"`
}

// KeyAdded is a new key. PrivateKey is there for a client's pair that was just made; the server does not keep it.
type KeyAdded struct {
	Key
	PrivateKey string `json:"privateKey,omitempty"`
}

func keys(s *server) {
	handle(s, http.MethodGet, "/apps/{appId}/keys", "list-keys", "All keys of an app", func(ctx context.Context, in *struct {
		AppID string `path:"appId"`
	}) (List[Key], error) {
		items, err := read(ctx, s, func(q *pgdb.Queries) ([]Key, error) {
			if _, err := q.GetApp(ctx, in.AppID); err != nil {
				return nil, err
			}
			return s.keysOf(ctx, q, in.AppID)
		})
		return List[Key]{Items: items}, err
	})
	handle(s, http.MethodPost, "/apps/{appId}/keys", "add-key", "Register a key, or make a pair", s.addKey)
	handle(s, http.MethodPost, "/apps/{appId}/keys/{id}/primary", "make-key-primary", "Encrypt webhooks to a client key", s.makePrimary)
	handle(s, http.MethodPost, "/apps/{appId}/keys/{id}/retire", "retire-key", "End a key for ever", s.retire)
}

// Resolve checks what the schema cannot.
func (n *NewKey) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	f := &faults{at: at.String()}
	switch {
	case n.Generate && n.PublicKey != "":
		f.add("publicKey", "must not be given with generate")
	case n.Generate && n.Owner == store.SFTPKey:
		f.add("generate", "is not for sftp: make the pair where it is used, and register its public half")
	case n.Generate:
	case n.Owner == store.PlatformKey:
		f.add("generate", "must be true for platform: its private half never travels")
	case n.PublicKey == "":
		f.add("publicKey", "is mandatory unless generate is true")
	default:
		if _, err := n.row(); err != nil {
			f.add("publicKey", err.Error())
		}
	}
	return f.errs
}

// row is the given public key in the form that is stored.
func (n *NewKey) row() (r pgdb.AppKey, err error) {
	r.Owner = n.Owner
	if n.Owner == store.SFTPKey {
		key, err := parseLogin(n.PublicKey)
		if err != nil {
			return r, err
		}
		r.Fingerprint = ssh.FingerprintSHA256(key)
		r.PublicKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		return r, nil
	}
	key, err := envelope.ParsePublicKey([]byte(n.PublicKey))
	if err != nil {
		return r, err
	}
	r.Fingerprint, r.PublicKey = envelope.Fingerprint(key), string(envelope.MarshalPublicKey(key))
	return r, nil
}

// parseLogin reads a public key for SFTP. Restrictions beside it are refused, because nothing would keep them.
func parseLogin(text string) (ssh.PublicKey, error) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		if key, err = parsePEM(text); err != nil {
			return nil, err
		}
	}
	switch {
	case len(options) > 0:
		return nil, errors.New("options before the key are not kept here: leave them out")
	case strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("one key at a time")
	case strings.Contains(key.Type(), "-cert-"):
		return nil, errors.New("this is a certificate: give the key itself")
	case key.Type() == "ssh-dss":
		return nil, errors.New("DSA is not safe any more")
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
			return nil, fmt.Errorf("an RSA key of %d bits, at least 2048 are needed", k.N.BitLen())
		}
	}
	return key, nil
}

func parsePEM(text string) (ssh.PublicKey, error) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			return ssh.NewPublicKey(key)
		}
	}
	key, err := envelope.ParsePublicKey([]byte(text))
	if err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(key)
}

func (s *server) addKey(ctx context.Context, in *onApp[NewKey]) (KeyAdded, error) {
	b := in.Body
	var row pgdb.AppKey
	var private string
	if !b.Generate {
		var err error
		if row, err = b.row(); err != nil {
			return KeyAdded{}, err
		}
	} else {
		if b.Owner == store.ClientKey && s.cfg.Sandbox == nil {
			return KeyAdded{}, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "body.generate",
				Message: "is for client only in the sandbox: a client's private key belongs to the client alone"})
		}
		pair, err := s.generate(ctx, b.Reference)
		if err != nil {
			return KeyAdded{}, err
		}
		if pair != nil {
			row, private = pairRow(b.Owner, pair), string(envelope.MarshalPrivateKey(pair))
		}
		if b.Owner == store.PlatformKey {
			row.PrivateKey, private = private, ""
		}
	}
	row.AppID = in.AppID
	added, repeated, err := do(ctx, s, act[KeyAdded]{Act: b.Act, name: "key.add", appID: in.AppID, content: in, keys: store.Keys{Apps: []string{in.AppID}},
		alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (c change[KeyAdded], err error) {
			if _, err := appOf(v, in.AppID); err != nil {
				return c, err
			}
			key, err := s.insertKey(ctx, v, q, row, "publicKey")
			return change[KeyAdded]{subject: keySubject(key), after: KeyAdded{Key: key}}, err
		}})
	if !repeated {
		added.PrivateKey = private
	}
	return added, err
}

func pairRow(owner string, pair *rsa.PrivateKey) pgdb.AppKey {
	return pgdb.AppKey{Owner: owner, Fingerprint: envelope.Fingerprint(&pair.PublicKey), PublicKey: string(envelope.MarshalPublicKey(&pair.PublicKey))}
}

// generate makes a pair, outside any unit because it takes long; none for an act that was done before.
func (s *server) generate(ctx context.Context, reference string) (*rsa.PrivateKey, error) {
	_, err := read(ctx, s, func(q *pgdb.Queries) (pgdb.Audit, error) { return q.GetAudit(ctx, reference) })
	switch {
	case err == nil:
		return nil, nil
	case !store.NotFound(err):
		return nil, err
	}
	return rsa.GenerateKey(rand.Reader, s.cfg.KeyBits)
}

// insertKey writes a key unless its fingerprint is known, for whatever app or owner and even retired: the signature of a
// request does not cover the appId, so that a client's key may verify for one app only.
func (s *server) insertKey(ctx context.Context, v *store.View, q *pgdb.Queries, row pgdb.AppKey, field string) (Key, error) {
	for _, owner := range []string{store.ClientKey, store.PlatformKey, store.SFTPKey} {
		known, err := q.FindKey(ctx, pgdb.FindKeyParams{Owner: owner, Fingerprint: row.Fingerprint})
		if store.NotFound(err) {
			continue
		}
		if err != nil {
			return Key{}, err
		}
		state := ""
		if known.RetiredAt > 0 {
			state = "retired "
		}
		return Key{}, conflict(field, fmt.Sprintf("is the %s%s key %d of app %s: a key is registered once, for one app and owner", state, known.Owner, known.ID, known.AppID))
	}
	row.ID, row.CreatedAt = v.NextID(), v.Now()
	if err := q.InsertAppKey(ctx, pgdb.InsertAppKeyParams(row)); err != nil {
		return Key{}, err
	}
	return s.key(ctx, q, row.AppID, row.ID)
}

// keyAct is an act on one key.
type keyAct struct {
	AppID string `path:"appId"`
	ID    ID     `path:"id"`
	Body  Act
}

func (s *server) makePrimary(ctx context.Context, in *keyAct) (Key, error) {
	return s.changeKey(ctx, "key.primary", in, func(ctx context.Context, v *store.View, q *pgdb.Queries, row pgdb.AppKey) error {
		switch {
		case row.Owner != store.ClientKey:
			return fmt.Errorf("a %s key as primary: %w", row.Owner, op.ErrState)
		case row.RetiredAt > 0:
			return fmt.Errorf("the key is retired: %w", op.ErrState)
		}
		all, err := q.ListKeysOfApp(ctx, in.AppID)
		if err != nil {
			return err
		}
		last := v.Now()
		for _, k := range all { // two acts in one millisecond: the later one counts
			last = max(last, k.MadePrimaryAt+1)
		}
		return q.MakeKeyPrimary(ctx, pgdb.MakeKeyPrimaryParams{ID: row.ID, MadePrimaryAt: last})
	})
}

func (s *server) retire(ctx context.Context, in *keyAct) (Key, error) {
	return s.changeKey(ctx, "key.retire", in, func(ctx context.Context, v *store.View, q *pgdb.Queries, row pgdb.AppKey) error {
		if row.RetiredAt > 0 {
			return fmt.Errorf("the key is retired already: %w", op.ErrState)
		}
		if row.Owner != store.SFTPKey {
			all, err := q.ListKeysOfApp(ctx, in.AppID)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(all, func(k pgdb.AppKey) bool { return k.Owner == row.Owner && k.RetiredAt == 0 && k.ID != row.ID }) {
				return fmt.Errorf("this is the app's last valid %s key, add another first, or disable the app: %w", row.Owner, op.ErrState)
			}
		}
		return q.RetireKey(ctx, pgdb.RetireKeyParams{ID: row.ID, RetiredAt: v.Now()})
	})
}

func (s *server) changeKey(ctx context.Context, name string, in *keyAct, fn func(context.Context, *store.View, *pgdb.Queries, pgdb.AppKey) error) (Key, error) {
	return once(ctx, s, act[Key]{Act: in.Body, name: name, appID: in.AppID, content: in,
		alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (c change[Key], err error) {
			row, err := q.GetKey(ctx, in.ID.number())
			if err == nil && row.AppID != in.AppID {
				err = huma.Error404NotFound("this app has no such key")
			}
			if err != nil {
				return c, err
			}
			before, err := s.key(ctx, q, row.AppID, row.ID)
			if err != nil {
				return c, err
			}
			if err := fn(ctx, v, q, row); err != nil {
				return c, err
			}
			after, err := s.key(ctx, q, row.AppID, row.ID)
			return change[Key]{subject: keySubject(after), before: before, after: after}, err
		}})
}

func keySubject(k Key) string { return fmt.Sprintf("%s key %s", k.Owner, k.ID) }

// keysOf shows an app's keys, newest first.
func (s *server) keysOf(ctx context.Context, q *pgdb.Queries, appID string) ([]Key, error) {
	rows, err := q.ListKeysOfApp(ctx, appID)
	if err != nil {
		return nil, err
	}
	valid, err := s.db.KeysOf(ctx, q, appID)
	if err != nil {
		return nil, err
	}
	primary := map[string]string{}
	if key, err := valid.Primary(); err == nil {
		primary[store.ClientKey] = envelope.Fingerprint(key)
	}
	if len(valid.Platform) > 0 {
		primary[store.PlatformKey] = envelope.Fingerprint(valid.Platform[0].Public().(*rsa.PublicKey))
	}
	shown := make([]Key, len(rows))
	for i, r := range rows {
		shown[len(rows)-1-i] = Key{ID: idOf(r.ID), AppID: r.AppID, Owner: r.Owner, Fingerprint: r.Fingerprint, PublicKey: r.PublicKey,
			Primary: primary[r.Owner] == r.Fingerprint, CreatedAt: at(r.CreatedAt), FirstUsedAt: at(r.FirstUsedAt), RetiredAt: at(r.RetiredAt)}
	}
	return shown, nil
}

func (s *server) key(ctx context.Context, q *pgdb.Queries, appID string, id int64) (Key, error) {
	shown, err := s.keysOf(ctx, q, appID)
	if err != nil {
		return Key{}, err
	}
	for _, k := range shown {
		if k.ID == idOf(id) {
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("key %d of app %s is gone", id, appID)
}
