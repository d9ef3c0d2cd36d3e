package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// TestDamage overwrites each page of a file in turn.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "books.db")
	db := open(t, path)
	var many []Unit
	for n := range 2000 {
		id := fmt.Sprintf("seller-%d", n)
		many = append(many, Unit{Keys: keysOf(id), Judge: putSeller(id)})
	}
	if err := errors.Join(db.DoAll(t.Context(), many)...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	random := rand.NewChaCha8([32]byte{1})
	for at := 0; at < len(sound); at += page {
		broken := slices.Clone(sound)
		if at/page%2 == 0 {
			clear(broken[at : at+page])
		} else {
			random.Read(broken[at : at+page])
		}
		hurt := filepath.Join(dir, "hurt.db")
		if err := os.WriteFile(hurt, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{Database: hurt}); !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "restore the last backup") {
			t.Errorf("page %d of %d: %v", at/page+1, len(sound)/page, err)
		}
		remove(t, hurt+"-wal", hurt+"-shm")
	}
	if err := os.WriteFile(path, sound[:len(sound)-page], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Database: path}); !errors.Is(err, errDamaged) {
		t.Errorf("a page too short: %v", err)
	}
}

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "books.db"), filepath.Join(dir, "backup.db")
	w := hold(t, from)
	count := func(part string) error {
		return ReadCopy(t.Context(), part, func(q *pgdb.Queries) error {
			rows, err := q.PageSellers(t.Context(), pgdb.PageSellersParams{Before: 1 << 62, Most: 10})
			if err == nil && len(rows) != len(w.wrote) {
				err = fmt.Errorf("%d sellers, want %d", len(rows), len(w.wrote))
			}
			return err
		})
	}
	if err := Backup(t.Context(), from, to, count); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	files, err := filepath.Glob(to + "*")
	if diff := cmp.Diff([]string{to}, files); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := Backup(t.Context(), from, to, count); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("written over: %v", err)
	}

	second := filepath.Join(dir, "second.db")
	unsound := errors.New("unsound")
	if err := Backup(t.Context(), from, second, func(string) error { return unsound }); !errors.Is(err, unsound) || !strings.Contains(err.Error(), second+".part") {
		t.Errorf("unsound: %v", err)
	}
	if err := Backup(t.Context(), from, second, count); err == nil || !strings.Contains(err.Error(), "then remove it") {
		t.Errorf("beside another: %v", err)
	}
	remove(t, second+".part")

	ctx, cancel := context.WithCancel(t.Context())
	if err := Backup(ctx, from, second, func(string) error { cancel(); return ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if files, _ := filepath.Glob(second + "*"); len(files) > 0 {
		t.Errorf("left when interrupted: %v", files)
	}
	if err := Backup(t.Context(), filepath.Join(dir, "none.db"), second, count); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	w.kill(t)
	have, err := sellersIn(t, to, false)
	if diff := cmp.Diff(w.wrote, have); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestReadCopyFindsDamage: what only the whole check sees, an index that does not fit its table.
func TestReadCopyFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	if _, err := sellersIn(t, path, false); err != nil {
		t.Fatal(err)
	}
	raw(t, path, "PRAGMA writable_schema = 1",
		"UPDATE sqlite_schema SET sql = replace(sql, '(state, id)', '(state, app_id)') WHERE name = 'binding_state'",
		"PRAGMA writable_schema = 0")
	raw(t, path, "INSERT INTO binding SELECT 1, 'a','s','c','r','','','','','','','','','S','', x'00', 0, '', 0, 0, 0, 0, 0",
		"PRAGMA writable_schema = 1",
		"UPDATE sqlite_schema SET sql = replace(sql, '(state, app_id)', '(state, id)') WHERE name = 'binding_state'",
		"PRAGMA wal_checkpoint(TRUNCATE)")
	err := ReadCopy(t.Context(), path, func(*pgdb.Queries) error { return nil })
	if !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "binding_state") {
		t.Errorf("an index that does not fit: %v", err)
	}
}
