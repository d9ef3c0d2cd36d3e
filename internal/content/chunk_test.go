package content

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// noise is n bytes that no compression hides.
func noise(seed uint64, n int) []byte {
	random := rand.NewChaCha8([32]byte{byte(seed)})
	p := make([]byte, n)
	random.Read(p)
	return p
}

func (r *rig) overwrite(id int64, patches ...Patch) error {
	return r.alone(func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
		return Overwrite(ctx, q, r.keys, id, patches)
	})
}

// TestOverwrite: patches go where they belong, over a chunk's end too, and not beyond the content's.
func TestOverwrite(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		want := text(3*chunkSize + 100)
		id, size := r.write(want), int64(len(want))
		patches := []Patch{{0, []byte("a")}, {chunkSize - 2, []byte("bcde")}, {chunkSize + 2, make([]byte, 2*chunkSize)}, {size - 1, []byte("z")}}
		for _, p := range patches {
			copy(want[p.Offset:], p.Data)
		}
		if err := r.overwrite(id, patches...); err != nil {
			t.Fatal(err)
		}
		if err := r.overwrite(id, Patch{size - 1, []byte("no")}); err == nil {
			t.Error("beyond the end")
		}
		if err := r.overwrite(id); err != nil {
			t.Error(err)
		}
		whole := text(chunkSize)
		if err := r.overwrite(r.write(whole), Patch{chunkSize, nil}); err != nil {
			t.Errorf("nothing, behind the last chunk: %v", err)
		}
		if got, err := io.ReadAll(r.open(id)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// TestErasedFromTheFile: once the server has stopped, no byte of what was overwritten or removed is in SQLite's file.
func TestErasedFromTheFile(t *testing.T) {
	path := storetest.SQLite.New(t)
	db, err := store.Open(t.Context(), store.Config{Database: path})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t, db: db}
	kept, changed, removed := noise(1, 3000), noise(2, 3000), noise(3, 2*chunkSize)
	r.write(kept)
	id, old := r.write(changed), r.write(removed)
	if err := r.overwrite(id, Patch{0, make([]byte, len(changed))}); err != nil {
		t.Fatal(err)
	}
	if err := r.alone(func(ctx context.Context, v *store.View, q *pgdb.Queries) error { return Remove(ctx, v, q, old) }); err != nil {
		t.Fatal(err)
	}
	for _, task := range r.due() {
		if err := Sweep(t.Context(), db, task); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, kept[:64]) {
		t.Error("what is kept cannot be seen in the file: the test proves nothing")
	}
	for _, gone := range [][]byte{changed, removed} {
		for i := 0; i+64 <= len(gone); i += 512 {
			if bytes.Contains(file, gone[i:i+32]) {
				t.Fatalf("bytes from %d on are in the file", i)
			}
		}
	}
}
