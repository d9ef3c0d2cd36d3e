package content

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// keyFile is the keys of some numbers, and the other lines of their file.
func keyFile(t *testing.T, numbers []byte, lines ...string) Keys {
	t.Helper()
	var file strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&file, "%x\n", bytes.Repeat([]byte{n}, keySize))
	}
	k, err := ParseKeys(strings.NewReader(file.String() + strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseKeys(t *testing.T) {
	raw := bytes.Repeat([]byte{7}, keySize)
	a, b := hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw)
	one, err := ParseKeys(strings.NewReader("# of 2026\n\n  " + a + "  \n"))
	other, err2 := ParseKeys(strings.NewReader(b))
	if err != nil || err2 != nil || one.First() != other.First() || len(one.First()) != 16 || strings.Contains(a, one.First()) {
		t.Errorf("%q %v, %q %v", one.First(), err, other.First(), err2)
	}
	for name, text := range map[string]string{"empty": "", "only lost": "lost 0123", "short": a[:62], "long": a + "00", "no key": "hunter2-hunter2", "twice": a + "\n" + b, "endless": strings.Repeat("a", 1<<17)} {
		if _, err := ParseKeys(strings.NewReader(text)); err == nil || strings.Contains(err.Error(), a[:20]) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEncrypted: what is written under a key is read under it, anywhere in it, and by nobody without it; what is in clear is
// read as before.
func TestEncrypted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		want := text(2*chunkSize + 1234)
		clear := r.write(want)
		r.keys = keyFile(t, []byte{1})
		secret := r.write(want)
		for name, id := range map[string]int64{"in clear": clear, "encrypted": secret} {
			if err := iotest.TestReader(r.open(id), want); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if r.keyOf(clear, 0) != "" || r.keyOf(secret, 2) != r.keys.First() {
			t.Error("under another key")
		}
		if err := r.overwrite(secret, Patch{chunkSize - 1, []byte("xyz")}); err != nil {
			t.Fatal(err)
		}
		copy(want[chunkSize-1:], "xyz")
		if got, err := io.ReadAll(r.open(secret)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("overwritten: %v", err)
		}
		id := r.keys.First()
		for name, k := range map[string]Keys{"no key": {}, "another key": keyFile(t, []byte{2})} {
			r.keys = k
			if got, err := io.ReadAll(r.open(secret)); !errors.Is(err, ErrKeyMissing) || !strings.Contains(err.Error(), id) || len(got) != 0 {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
			if err := k.Check(t.Context(), r.db); !errors.Is(err, ErrKeyMissing) || !strings.Contains(err.Error(), id) {
				t.Errorf("%s at the start: %v", name, err)
			}
			if err := r.overwrite(secret, Patch{0, []byte("x")}); !errors.Is(err, ErrKeyMissing) {
				t.Errorf("%s: overwritten: %v", name, err)
			}
		}
		if err := keyFile(t, []byte{2}, "lost "+id).Check(t.Context(), r.db); err != nil {
			t.Errorf("a key that is known to be lost: %v", err)
		}
		if err := keyFile(t, []byte{2, 1}).Check(t.Context(), r.db); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) chunk(id, no int64) (chunk pgdb.GetContentChunkRow) {
	r.Helper()
	if err := r.db.Read(r.Context(), func(q *pgdb.Queries) (err error) {
		chunk, err = q.GetContentChunk(r.Context(), pgdb.GetContentChunkParams{ContentID: id, No: no})
		return err
	}); err != nil {
		r.Fatal(err)
	}
	return chunk
}

func (r *rig) keyOf(id, no int64) string { return r.chunk(id, no).KeyID }

// TestChunksAreBound: an encrypted chunk opens in its own place alone, and only as it was written.
func TestChunksAreBound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		r.keys = keyFile(t, []byte{1, 2})
		one, other := r.write(text(2*chunkSize)), r.write(text(2*chunkSize)) // the same bytes
		good := r.chunk(one, 0)
		second := keyFile(t, []byte{2})
		for name, put := range map[string]pgdb.UpdateContentChunkParams{
			"of another place":   {Data: r.chunk(one, 1).Data, KeyID: good.KeyID},
			"of another content": {Data: r.chunk(other, 0).Data, KeyID: good.KeyID},
			"a bit":              {Data: append(bytes.Clone(good.Data[:40]), append([]byte{good.Data[40] ^ 1}, good.Data[41:]...)...), KeyID: good.KeyID},
			"cut":                {Data: good.Data[:len(good.Data)-1], KeyID: good.KeyID},
			"empty":              {Data: []byte{}, KeyID: good.KeyID},
			"another key":        {Data: good.Data, KeyID: second.First()},
			"said to be clear":   {Data: good.Data},
		} {
			put.ContentID = one
			if err := r.alone(func(ctx context.Context, _ *store.View, q *pgdb.Queries) error { return q.UpdateContentChunk(ctx, put) }); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r.open(one)); err == nil || len(got) != 0 || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	})
}

// TestRekey: everything that can be read is under the first key afterwards, and reads as before; a crash in the middle, and
// what is lost or about to be swept, are no obstacles.
func TestRekey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		want := map[int64][]byte{}
		write := func(n int) (id int64) {
			id = r.write(text(n))
			want[id] = text(n)
			return id
		}
		write(40 * chunkSize)
		r.keys = keyFile(t, []byte{1})
		write(3*chunkSize + 1)
		r.keys = keyFile(t, []byte{9})
		lost := r.write(text(10))
		lostLine := "lost " + r.keys.First()
		r.keys = keyFile(t, []byte{1})
		orphan := r.write(text(2 * chunkSize))
		if err := r.alone(func(ctx context.Context, v *store.View, q *pgdb.Queries) error { return Remove(ctx, v, q, orphan) }); err != nil {
			t.Fatal(err)
		}
		r.keys = keyFile(t, []byte{2, 1}, lostLine)
		write(5)
		rekey := func(ctx context.Context) error { return Rekey(ctx, r.db, r.keys, pgdb.Task{ID: 1 << 60}) }
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := rekey(stopped); err == nil {
			t.Error("it went on")
		}
		if err := rekey(t.Context()); err != nil {
			t.Fatal(err)
		}
		var uses []Use
		if err := r.db.Read(t.Context(), func(q *pgdb.Queries) (err error) { uses, err = r.keys.Uses(t.Context(), q); return err }); err != nil {
			t.Fatal(err)
		}
		how := map[string]string{}
		for _, u := range uses {
			how[u.KeyID] = fmt.Sprint(u.Use, " ", u.Chunks)
		}
		first, old := r.keys.First(), keyFile(t, []byte{1}).First()
		if len(how) != 3 || how[first] != "writes 45" || how[old] != "reads 0" || how[r.keyOf(lost, 0)] != "lost 1" {
			t.Errorf("%v", how)
		}
		r.keys = keyFile(t, []byte{2}, lostLine) // the old one is given up
		if err := r.keys.Check(t.Context(), r.db); err != nil {
			t.Error(err)
		}
		for id, text := range want {
			if got, err := io.ReadAll(r.open(id)); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes: %v", len(text), err)
			}
		}
	})
}

// TestRekeyAndOverwriteAtOnce: on whichever nodes they are, neither undoes the other.
func TestRekeyAndOverwriteAtOnce(t *testing.T) {
	database := storetest.Postgres.New(t)
	one, other := newRig(t, database), newRig(t, database)
	for round := range 10 {
		id := one.write(text(20 * chunkSize))
		one.keys, other.keys = keyFile(t, []byte{byte(round + 1)}), keyFile(t, []byte{byte(round + 1)})
		done := make(chan error)
		go func() { done <- Rekey(t.Context(), other.db, other.keys, pgdb.Task{ID: 1 << 60}) }()
		for no := range int64(20) {
			if err := one.overwrite(id, Patch{no * chunkSize, []byte("gone")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(one.open(id))
		if err != nil {
			t.Fatal(err)
		}
		for no := range 20 {
			if string(got[no*chunkSize:no*chunkSize+4]) != "gone" || one.keyOf(id, int64(no)) != one.keys.First() {
				t.Errorf("round %d: chunk %d", round, no)
			}
		}
		one.keys = Keys{}
	}
}
