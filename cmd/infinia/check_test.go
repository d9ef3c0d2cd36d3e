package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What runs it in a script can tell a file with errors from one that is not there.
func TestCheckExits(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.csv")
	write(t, bad, "sellerId,orderId\n")
	interrupted, stop := context.WithCancel(t.Context())
	stop()
	for what, test := range map[string]struct {
		ctx  context.Context
		args []string
		want int
	}{
		"errors":       {t.Context(), []string{bad}, 1},
		"no file":      {t.Context(), []string{filepath.Join(dir, "none.csv")}, 2},
		"a folder":     {t.Context(), []string{dir}, 2},
		"no place":     {t.Context(), []string{bad, "--errors", filepath.Join(dir, "none", "errors.csv")}, 2},
		"wrong usage":  {t.Context(), []string{bad, "--most=1001"}, 2},
		"interruption": {interrupted, []string{bad}, 2},
	} {
		var errOut bytes.Buffer
		if got := run(test.ctx, append([]string{"check"}, test.args...), nil, io.Discard, &errOut); got != test.want {
			t.Errorf("%s: exit code %d, want %d: %s", what, got, test.want, errOut.String())
		}
	}
}

// A part of a mended copy or an error file would look whole.
func TestNoPartOfAFileStays(t *testing.T) {
	for what, fails := range map[string]func(stop func()) error{
		"a full disk": func(func()) error { return errors.New("the disk is full") },
		"interrupted": func(stop func()) error { stop(); return nil },
	} {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		name := filepath.Join(t.TempDir(), "errors.csv")
		if err := written(ctx, console{}, name, func(w io.Writer) error { return errors.Join(some(w), fails(stop), some(w)) }); err == nil {
			t.Errorf("%s: no error", what)
		}
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func some(w io.Writer) error { _, err := io.WriteString(w, "sellerId,orderId\n"); return err }
