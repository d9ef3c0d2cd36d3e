package main

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/server"
)

// integrator says as which app to call which server; by default the sandbox of the data folder.
type integrator struct {
	Data        string   `default:".infinia" help:"Folder of the sandbox whose sandbox.json gives what the other flags do not."`
	API         string   `name:"api" help:"Base URL, which ends in /api."`
	AppID       string   `name:"app" help:"The app to call as."`
	Key         string   `help:"File of the app's private key, in any form."`
	PlatformKey []string `name:"platform-key" help:"File of the platform's public key, in any form; the first encrypts, all verify."`
}

// keys reads what the flags name, or the sandbox's.
func (c *integrator) keys() (*rsa.PrivateKey, []*rsa.PublicKey, error) {
	if c.API == "" || c.AppID == "" || c.Key == "" || len(c.PlatformKey) == 0 {
		f, err := readSandbox(c.Data)
		if err != nil {
			return nil, nil, err
		}
		c.API, c.AppID, c.Key = or(c.API, f.API), or(c.AppID, f.AppID), or(c.Key, f.ClientPrivateKey)
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

// readSandbox reads sandbox.json.
func readSandbox(data string) (f server.SandboxFile, err error) {
	text, err := os.ReadFile(data + "/sandbox.json")
	if err != nil {
		return f, fmt.Errorf("no sandbox runs over %s (start one with infinia dev, or give every flag): %w", data, err)
	}
	return f, json.Unmarshal(text, &f)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// callCmd makes one call and prints the opened answer.
type callCmd struct {
	integrator
	Operation  string `arg:"" help:"The operation, such as revenue-sharing/request."`
	Content    string `short:"d" help:"The request as JSON; - or nothing reads it from standard input."`
	BlockBytes int    `help:"Plain bytes per RSA block; 0 sends full blocks, 64 what the original's clients send."`
	Envelope   bool   `help:"Print the envelopes that go over the wire as well, to standard error."`
}

func (c callCmd) Run(ctx context.Context, con console) error {
	if !slices.ContainsFunc(op.All, func(o op.Operation) bool { return string(o.Name) == c.Operation }) {
		names := make([]string, len(op.All))
		for i, o := range op.All {
			names[i] = string(o.Name)
		}
		return fmt.Errorf("there is no operation %q; there are %s", c.Operation, strings.Join(names, ", "))
	}
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
	if !json.Valid(content) {
		return errors.New("the request is not valid JSON")
	}
	opts := []infinia.Option{infinia.WithBaseURL(c.API), infinia.WithBlockBytes(c.BlockBytes)}
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
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, reply, "", "  "); err != nil {
		return err
	}
	fmt.Fprintln(con.out, out.String())
	return nil
}
