package store

import (
	"context"
	"crypto/rsa"
	"fmt"
	"sync"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Who a key belongs to.
const (
	ClientKey   = "client"   // verifies the app's requests; answers and webhooks are encrypted to it
	PlatformKey = "platform" // opens the app's requests and signs its webhooks; each app has its own
	SFTPKey     = "sftp"     // logs the app in over SFTP
)

// AppKeys is an app's valid RSA keys, oldest first.
type AppKeys struct {
	Client   []ClientKeyRow
	Platform []envelope.PrivateKey
}

// ClientKeyRow is a client key with its row.
type ClientKeyRow struct {
	Row pgdb.AppKey
	Key *rsa.PublicKey
}

// PublicKeys returns the client keys in order.
func (k AppKeys) PublicKeys() []*rsa.PublicKey {
	keys := make([]*rsa.PublicKey, len(k.Client))
	for i, c := range k.Client {
		keys[i] = c.Key
	}
	return keys
}

// Primary is the client key that webhooks are encrypted to: the one that an operator made primary last, or else the newest
// that signed an accepted request, or else the oldest.
func (k AppKeys) Primary() (*rsa.PublicKey, error) {
	if len(k.Client) == 0 {
		return nil, fmt.Errorf("the app has no valid client key")
	}
	best := k.Client[0]
	for _, c := range k.Client[1:] {
		if c.Row.MadePrimaryAt > best.Row.MadePrimaryAt || (c.Row.MadePrimaryAt == best.Row.MadePrimaryAt && c.Row.FirstUsedAt > 0) {
			best = c
		}
	}
	return best.Key, nil
}

// Caller is an app as it was read: what a request of it is held against. It is not changed.
type Caller struct {
	App      pgdb.App
	Settings Settings
	Keys     AppKeys
}

// Same says whether nothing but its books has changed from the one to the other.
func (c *Caller) Same(o *Caller) bool {
	return c != nil && o != nil && c.App.ID == o.App.ID && c.App.Revision == o.App.Revision
}

// ReadCaller reads an app with its valid keys in one query; nil when there is none. Every app has had a key since it was
// made: without one it is not found.
func (db *DB) ReadCaller(ctx context.Context, appID string) (*Caller, error) {
	var rows []pgdb.ListKeysWithAppRow
	err := db.ReadOne(ctx, func(q *pgdb.Queries) (err error) {
		rows, err = q.ListKeysWithApp(ctx, appID)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		db.kept.Delete(appID)
		return nil, nil
	}
	c := &Caller{App: rows[0].App}
	keys := make([]pgdb.AppKey, len(rows))
	for i, r := range rows {
		keys[i] = r.AppKey
	}
	if c.Keys, err = db.parse(keys); err != nil {
		return nil, err
	}
	if c.Settings, err = SettingsOf(c.App); err != nil {
		return nil, err
	}
	db.kept.Store(appID, c)
	return c, nil
}

// KeptCaller is an app as this node last read it, or nil: it may have changed since. Who relies on it has that found out by
// the commit, see Unit.Caller, or reads it again.
func (db *DB) KeptCaller(appID string) *Caller {
	c, _ := db.kept.Load(appID)
	kept, _ := c.(*Caller)
	return kept
}

// KeysOf reads an app's valid keys.
func (db *DB) KeysOf(ctx context.Context, q *pgdb.Queries, appID string) (AppKeys, error) {
	rows, err := q.ListKeysOfApp(ctx, appID)
	if err != nil {
		return AppKeys{}, err
	}
	return db.parse(rows)
}

// parse parses the keys that are valid, which come oldest first. Parsed ones are kept by fingerprint: reading one again costs nothing.
func (db *DB) parse(rows []pgdb.AppKey) (keys AppKeys, err error) {
	for _, r := range rows {
		if r.RetiredAt > 0 {
			continue
		}
		switch r.Owner {
		case ClientKey:
			k, err := parseOnce(&db.parsed, r.Owner+r.Fingerprint, []byte(r.PublicKey), envelope.ParsePublicKey)
			if err != nil {
				return keys, fmt.Errorf("client key %s: %w", r.Fingerprint, err)
			}
			keys.Client = append(keys.Client, ClientKeyRow{Row: r, Key: k})
		case PlatformKey:
			k, err := parseOnce(&db.parsed, r.Owner+r.Fingerprint, []byte(r.PrivateKey), envelope.ParsePrivateKey)
			if err != nil {
				return keys, fmt.Errorf("platform key %s: %w", r.Fingerprint, err)
			}
			keys.Platform = append(keys.Platform, k)
		}
	}
	return keys, nil
}

func parseOnce[K any](cache *sync.Map, name string, text []byte, parse func([]byte) (K, error)) (K, error) {
	if k, ok := cache.Load(name); ok {
		return k.(K), nil
	}
	k, err := parse(text)
	if err == nil {
		cache.Store(name, k)
	}
	return k, err
}
