package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/internal/storetest"
)

// Every command explains itself: a line of usage, and of each flag what it is, in place of kong's word for its type.
func TestHelp(t *testing.T) {
	var out bytes.Buffer
	parser, err := newParser(&out, &out, func(int) { panic(exited{}) })
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(true) {
		path := strings.Fields(leaf.Path())
		t.Run(leaf.Path(), func(t *testing.T) {
			out.Reset()
			if _, err := parse(parser, append(path, "--help")); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			if want := "Usage: infinia " + leaf.Path(); !strings.HasPrefix(text, want) {
				t.Errorf("begins with %.60q, want %q", text, want)
			}
			for _, word := range []string{"=STRING", "=INT", "\x1b"} {
				if strings.Contains(text, word) {
					t.Errorf("has %q in it:\n%s", word, text)
				}
			}
			helps := []string{leaf.Help}
			for _, p := range leaf.Positional {
				helps = append(helps, p.Help)
			}
			for _, f := range leaf.Flags {
				helps = append(helps, f.Help)
			}
			for _, help := range helps {
				if !strings.HasSuffix(help, ".") {
					t.Errorf("%q does not end with a period", help)
				}
			}
		})
	}
}

// An act's reference and reason, and what a question asks, come from the command line alone: left in the environment they
// would go with every other command.
func TestVariables(t *testing.T) {
	parser, err := newParser(io.Discard, io.Discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, leaf := range parser.Model.Leaves(true) {
		if leaf.ClosestGroup() == nil || leaf.ClosestGroup().Key == "Integrator" {
			continue
		}
		for _, f := range leaf.Flags {
			for _, env := range f.Envs {
				have[env] = true
			}
		}
	}
	want := map[string]bool{"INFINIA_ADMIN": true, "INFINIA_TOKEN": true, "INFINIA_TOKEN_FILE": true, "INFINIA_DATA": true, "INFINIA_JSON": true}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

func TestServe(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		dir := t.TempDir()
		operators, token := filepath.Join(dir, "operators"), filepath.Join(dir, "token")
		write(t, operators, "ada 0123456789abcdef\n")
		write(t, token, "0123456789abcdef\n")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		args := []string{"serve", "--data", filepath.Join(dir, "data"), "--behind-proxy", "--public-url", "https://pay.example.com",
			"--operators", operators, "--http", "127.0.0.1:0", "--sftp", "127.0.0.1:0"}
		if engine == storetest.Postgres {
			args = append(args, "--db", engine.New(t))
		}
		log, w := io.Pipe()
		code := make(chan int, 1)
		go func() {
			code <- run(ctx, args, nil, io.Discard, w)
			w.Close()
		}()
		lines := bufio.NewScanner(log)
		var ready struct {
			Msg, HTTP    string
			SFTPHostKeys []string
		}
		for ready.Msg != "ready" {
			if !lines.Scan() {
				t.Fatal("it ended before it was ready")
			}
			if err := json.Unmarshal(lines.Bytes(), &ready); err != nil {
				t.Fatal(err)
			}
		}
		if len(ready.SFTPHostKeys) != 1 || !strings.HasPrefix(ready.SFTPHostKeys[0], "SHA256:") {
			t.Errorf("SFTP's host key is logged as %q", ready.SFTPHostKeys)
		}
		rest := make(chan string, 1)
		go func() {
			var b strings.Builder
			for lines.Scan() {
				b.WriteString(lines.Text() + "\n")
			}
			rest <- b.String()
		}()

		req, err := http.NewRequestWithContext(ctx, http.MethodGet, ready.HTTP+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("readyz: %s", resp.Status)
		}
		verb := func(args ...string) (int, string, string) {
			var out, errOut bytes.Buffer
			code := run(ctx, append(slices.Clone(args), "--admin", ready.HTTP, "--token-file", token), nil, &out, &errOut)
			return code, out.String(), errOut.String()
		}
		if code, out, errOut := verb("ledger", "verify"); code != 0 || !strings.HasPrefix(out, "sound: ") {
			t.Errorf("ledger verify: %d %s %s", code, out, errOut)
		}
		for _, args := range [][]string{{"clock", "show"}, {"clock", "advance", "1h"}, {"fault", "list"}, {"reset"}} {
			code, _, errOut := verb(args...)
			if code != 1 || !strings.Contains(errOut, "hint: only a sandbox has this verb") {
				t.Errorf("%v in production: %d %s", args, code, errOut)
			}
		}
		stop()
		if c := <-code; c != 0 {
			t.Errorf("exit code %d", c)
		}
		if text := <-rest; !strings.Contains(text, `"msg":"stopping"`) {
			t.Errorf("log: %s", text)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
