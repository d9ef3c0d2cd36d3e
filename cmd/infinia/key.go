package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/store"
)

type keyCmd struct {
	List     keyList     `cmd:"" help:"List the keys of an app, retired ones included."`
	Export   keyExport   `cmd:"" help:"Print a public key; by default the platform's, which the app encrypts to."`
	Import   keyImport   `cmd:"" help:"Register a public key of an app."`
	Generate keyGenerate `cmd:"" help:"Make a pair and register its public half."`
	Primary  keyPrimary  `cmd:"" help:"Encrypt webhooks to this client key."`
	Retire   keyRetire   `cmd:"" help:"End a key for ever."`
}

type keyList struct {
	AppID string `arg:"" help:"The app."`
	operator
}

func (c keyList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Key], error) { return api.Keys(ctx, c.AppID) },
		"id owner primary createdAt firstUsedAt retiredAt fingerprint", func(k admin.Key) []any {
			return []any{k.ID, k.Owner, k.Primary, k.CreatedAt, k.FirstUsedAt, k.RetiredAt, k.Fingerprint}
		})
}

type keyExport struct {
	AppID string   `arg:"" help:"The app."`
	ID    admin.ID `arg:"" optional:"" help:"The key, as key list tells it."`
	operator
}

func (c keyExport) Run(ctx context.Context, con console) error {
	keys, err := asked(c.connection, func(api *admin.Client) (admin.List[admin.Key], error) { return api.Keys(ctx, c.AppID) })
	if err != nil {
		return err
	}
	for _, k := range keys.Items {
		if k.ID == c.ID || c.ID == "" && k.Owner == store.PlatformKey && k.RetiredAt.IsZero() {
			if c.JSON {
				return printJSON(con.out, k)
			}
			fmt.Fprintln(con.out, strings.TrimSpace(k.PublicKey))
			return nil
		}
	}
	return fmt.Errorf("app %s has no such key", c.AppID)
}

type keyImport struct {
	AppID string `arg:"" help:"The app."`
	File  string `arg:"" help:"File with the key, - for standard input. For client: PEM, DER, bare Base64 or a certificate; for sftp: a line of authorized_keys, or PEM."`
	Owner string `enum:"client,sftp" default:"client" env:"-" placeholder:"OWNER" help:"What the key is for: client (signs calls) or sftp (logs in); default client."`
	actor
}

func (c keyImport) Run(ctx context.Context, con console) error {
	text, err := readFile(con, c.File)
	if err != nil {
		return err
	}
	if _, err := envelope.ParsePrivateKey(text); err == nil || bytes.Contains(text, []byte("PRIVATE KEY")) {
		return hinted{fmt.Errorf("%s is a private key, and has not been sent", c.File), "give its public half; the private key belongs to its owner alone"}
	}
	if c.Owner == store.ClientKey {
		key, err := envelope.ParsePublicKey(text)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		text = envelope.MarshalPublicKey(key)
	}
	return addKey(ctx, con, c.actor, c.AppID, admin.NewKey{Owner: c.Owner, PublicKey: string(text)})
}

type keyGenerate struct {
	AppID string `arg:"" help:"The app."`
	Owner string `required:"" enum:"client,platform" env:"-" placeholder:"OWNER" help:"client: the pair is made here, and its private half written to --out. platform: it is made in the server and never leaves it."`
	Out   string `env:"-" placeholder:"FILE" help:"File of a client's private key; - prints it. One that is there already is kept and used, so that the command may be repeated."`
	Bits  int    `default:"4096" env:"-" placeholder:"N" help:"Bits of a client's pair; default 4096."`
	actor
}

func (c keyGenerate) Run(ctx context.Context, con console) error {
	if c.Owner == store.PlatformKey {
		return addKey(ctx, con, c.actor, c.AppID, admin.NewKey{Owner: c.Owner, Generate: true})
	}
	if c.Out == "" {
		return errors.New("--out is needed: the private key of a client is kept nowhere else")
	}
	pair, err := c.pair(con)
	if err != nil {
		return err
	}
	return addKey(ctx, con, c.actor, c.AppID, admin.NewKey{Owner: c.Owner, PublicKey: string(envelope.MarshalPublicKey(&pair.PublicKey))})
}

// pair is on disk before its public half is registered, since a registered key that nobody has is of no use.
func (c keyGenerate) pair(con console) (*rsa.PrivateKey, error) {
	if c.Out != "-" {
		if text, err := os.ReadFile(c.Out); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return nil, err
			}
			pair, err := envelope.ParsePrivateKey(text)
			if err != nil {
				return nil, fmt.Errorf("%s is there already and no private key: %w", c.Out, err)
			}
			fmt.Fprintln(con.err, "using the private key in", c.Out)
			return pair, nil
		}
	}
	pair, err := rsa.GenerateKey(rand.Reader, c.Bits)
	if err != nil {
		return nil, err
	}
	text := envelope.MarshalPrivateKey(pair)
	if c.Out == "-" {
		_, err := con.out.Write(text)
		return pair, err
	}
	f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(c.Out))
	}
	fmt.Fprintln(con.err, "private key written to", c.Out)
	return pair, nil
}

func addKey(ctx context.Context, con console, by actor, appID string, n admin.NewKey) error {
	return perform(con, by, func(api *admin.Client, a admin.Act) (admin.KeyAdded, error) {
		n.Act = a
		return api.AddKey(ctx, appID, n)
	})
}

type keyPrimary struct {
	AppID string   `arg:"" help:"The app."`
	ID    admin.ID `arg:"" help:"The key, as key list tells it."`
	actor
}

func (c keyPrimary) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Key, error) {
		return api.MakeKeyPrimary(ctx, c.AppID, c.ID, a)
	})
}

type keyRetire struct {
	AppID string   `arg:"" help:"The app."`
	ID    admin.ID `arg:"" help:"The key, as key list tells it."`
	actor
}

func (c keyRetire) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Key, error) { return api.RetireKey(ctx, c.AppID, c.ID, a) })
}
