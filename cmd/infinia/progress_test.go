package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/openinfinia/infinia/internal/sample"
	"github.com/openinfinia/infinia/internal/trade"
)

// A bar is full when a file was read as often as it takes, whether its encoding shows at its beginning or at its end.
func TestReadingsFillTheBar(t *testing.T) {
	t.Parallel()
	for _, encoding := range []sample.Encoding{sample.UTF8, sample.UTF8Mark} {
		f, err := os.Create(filepath.Join(t.TempDir(), "trades.csv"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := sample.Write(f, sample.Options{Rows: 2000, Encoding: encoding, Sellers: sample.Sellers(1)}); err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		src := &watchedSource{File: f, ctx: t.Context(), bar: bar(nil, "", 2*info.Size()), size: info.Size()}
		res, err := trade.Check(src, trade.Settings{}, trade.Known{})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		if src.from+src.at != 2*info.Size() {
			t.Errorf("%s: %d of %d bytes", encoding, src.from+src.at, 2*info.Size())
		}
	}
}
