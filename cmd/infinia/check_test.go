package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

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
