package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/server"
)

// integrator says as which app to call which server; by default the sandbox of the data folder.
type integrator struct {
	Data        string   `default:".infinia" help:"Folder of the sandbox whose sandbox.json gives what the other flags do not."`
	API         string   `name:"api" placeholder:"URL" help:"Base URL, which ends in /api."`
	AppID       string   `name:"app" placeholder:"APP" help:"The app to call as."`
	Key         string   `placeholder:"FILE" help:"File of the app's private key, in any form."`
	PlatformKey []string `name:"platform-key" placeholder:"FILE" help:"File of the platform's public key, in any form; the first encrypts, all verify."`
}

// keys reads what the flags name, or the sandbox's.
func (c *integrator) keys() (*rsa.PrivateKey, []*rsa.PublicKey, error) {
	if c.API == "" || c.AppID == "" || c.Key == "" || len(c.PlatformKey) == 0 {
		f, err := readSandbox(c.Data)
		if err != nil {
			return nil, nil, hinted{err, "infinia dev starts one; --api, --app, --key and --platform-key name another server"}
		}
		c.API, c.AppID, c.Key = cmp.Or(c.API, f.API), cmp.Or(c.AppID, f.AppID), cmp.Or(c.Key, f.ClientPrivateKey)
		if len(c.PlatformKey) == 0 {
			c.PlatformKey = []string{f.PlatformPublicKey}
		}
	}
	key, err := readKey(c.Key, envelope.ParsePrivateKey)
	if err != nil {
		return nil, nil, err
	}
	platform := make([]*rsa.PublicKey, len(c.PlatformKey))
	for i, path := range c.PlatformKey {
		if platform[i], err = readKey(path, envelope.ParsePublicKey); err != nil {
			return nil, nil, err
		}
	}
	return key, platform, nil
}

func readKey[K any](path string, parse func([]byte) (K, error)) (K, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var none K
		return none, err
	}
	k, err := parse(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return k, err
}

// readSandbox reads sandbox.json, which is there while a sandbox runs.
func readSandbox(data string) (f server.SandboxFile, err error) {
	text, err := os.ReadFile(filepath.Join(data, "sandbox.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("no sandbox runs over %s", data)
	}
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(text, &f)
}

// callCmd makes one call and prints the opened answer.
type callCmd struct {
	integrator
	Operation  string `arg:"" enum:"${operations}" help:"One of: ${enum}."`
	Content    string `short:"d" env:"-" placeholder:"JSON" help:"The request as JSON; - or nothing reads it from standard input."`
	BlockBytes int    `placeholder:"N" help:"Plain bytes per RSA block; 0 sends full blocks, 64 what the original's clients send."`
	Envelope   bool   `help:"Print the envelopes that go over the wire as well, to standard error."`
}

// operations lists what can be called.
func operations() string {
	names := make([]string, len(op.All))
	for i, o := range op.All {
		names[i] = string(o.Name)
	}
	return strings.Join(names, ", ")
}

func (c callCmd) Run(ctx context.Context, con console) error {
	key, platform, err := c.keys()
	if err != nil {
		return err
	}
	content := []byte(c.Content)
	if c.Content == "" || c.Content == "-" {
		if content, err = io.ReadAll(con.in); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(content, new(any)); err != nil {
		return fmt.Errorf("the request is not JSON: %w", err)
	}
	opts := []infinia.Option{infinia.WithBaseURL(c.API), infinia.WithBlockBytes(c.BlockBytes),
		infinia.WithRetries(0)} // one call is one call: what a second try would hide is worth seeing
	if c.Envelope {
		opts = append(opts, infinia.WithHTTPClient(wireClient(func(w wire) {
			fmt.Fprintf(con.err, "> POST %s\n> %s\n< %s\n< %s\n", w.url, w.request, w.status, w.response)
		})))
	}
	client, err := infinia.NewClient(c.AppID, key, platform, opts...)
	if err != nil {
		return err
	}
	reply, err := client.Call(ctx, infinia.Operation(c.Operation), json.RawMessage(content))
	if err != nil {
		return explain(err, "")
	}
	var out bytes.Buffer
	if err := json.Indent(&out, reply, "", "  "); err != nil {
		return err
	}
	fmt.Fprintln(con.out, out.String())
	return nil
}

// readFile reads a file, or standard input for -.
func readFile(con console, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(con.in)
	}
	return os.ReadFile(path)
}
