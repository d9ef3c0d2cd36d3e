package store

import (
	"database/sql"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var seed = flag.Uint64("seed", 0, "of the moments at which a process is killed; 0: others each time")

// sellersIn opens a database, says what it has, and closes it.
func sellersIn(t *testing.T, path string, accept bool) ([]string, error) {
	t.Helper()
	db, err := Open(t.Context(), Config{Database: path, AcceptLostLog: accept})
	if err != nil {
		return nil, err
	}
	ids := sellers(t, db)
	return ids, db.Close()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// TestKilledAnywhere kills a process while it opens, writes and closes. The database opens again with everything that was
// acknowledged; and the file alone, without its log, has that too or is refused.
func TestKilledAnywhere(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with -seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	path := filepath.Join(t.TempDir(), "books.db")
	var all []string
	refused := 0
	for range 12 {
		w := startWriter(t, path)
		w.until(t, 1)
		<-time.After(time.Duration(random.IntN(100_000)) * time.Microsecond)
		w.kill(t)
		all = append(all, w.wrote...)

		alone := filepath.Join(t.TempDir(), "alone.db")
		copyFile(t, path, alone)
		for _, p := range []string{alone, path} {
			have, err := sellersIn(t, p, false)
			if p == alone && errors.Is(err, ErrLogMissing) {
				refused++
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			for _, id := range all {
				if !slices.Contains(have, id) {
					t.Fatalf("%s: %s was acknowledged and is lost", p, id)
				}
			}
		}
	}
	t.Logf("of 12 files alone %d were refused", refused)
}

// TestFileAndLog: what of a file and its log may lie where, and what is refused.
func TestFileAndLog(t *testing.T) {
	const stray = "is not its log"
	whole := func(t *testing.T, path string) []string { // a file that was closed
		t.Helper()
		db := open(t, path)
		if err := db.Do(t.Context(), Unit{Keys: keysOf("whole"), Judge: putSeller("whole")}); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("a log is left after a clean end: %v", err)
		}
		return []string{"whole"}
	}
	crashed := func(t *testing.T, path string) []string {
		t.Helper()
		w := hold(t, path)
		w.kill(t)
		return w.wrote
	}
	for _, c := range []struct {
		name   string
		lay    func(t *testing.T, path string) (have []string)
		refuse string // empty: it opens with what lay returned
	}{
		{"closed", whole, ""},
		{"killed", crashed, ""},
		{"killed twice", func(t *testing.T, path string) []string { return append(crashed(t, path), crashed(t, path)...) }, ""},
		{"killed, file and log copied", func(t *testing.T, path string) []string {
			have := crashed(t, path+"0")
			copyFile(t, path+"0", path)
			copyFile(t, path+"0-wal", path+"-wal")
			return have
		}, ""},
		{"killed, the file copied alone", func(t *testing.T, path string) []string {
			crashed(t, path+"0")
			copyFile(t, path+"0", path)
			return nil
		}, ErrLogMissing.Error()},
		{"killed, the log empty", func(t *testing.T, path string) []string {
			crashed(t, path)
			if err := os.Truncate(path+"-wal", 0); err != nil {
				t.Fatal(err)
			}
			return nil
		}, ErrLogMissing.Error()},
		{"running, the file copied alone", func(t *testing.T, path string) []string {
			hold(t, path+"0")
			copyFile(t, path+"0", path)
			return nil
		}, ErrLogMissing.Error()},
		{"running, its second start, the file copied alone", func(t *testing.T, path string) []string {
			whole(t, path+"0")
			hold(t, path+"0")
			copyFile(t, path+"0", path)
			return nil
		}, ErrLogMissing.Error()},
		{"running, a copy", func(t *testing.T, path string) []string {
			w := hold(t, path+"0")
			if err := Copy(t.Context(), path+"0", path); err != nil {
				t.Fatal(err)
			}
			return w.wrote
		}, ""},
		{"running, a copy of a copy", func(t *testing.T, path string) []string {
			w := hold(t, path+"0")
			if err := errors.Join(Copy(t.Context(), path+"0", path+"1"), Copy(t.Context(), path+"1", path)); err != nil {
				t.Fatal(err)
			}
			return w.wrote
		}, ""},
		{"killed, a copy", func(t *testing.T, path string) []string {
			have := crashed(t, path+"0")
			if err := Copy(t.Context(), path+"0", path); err != nil {
				t.Fatal(err)
			}
			return have
		}, ""},
		{"killed, and read by a copy", func(t *testing.T, path string) []string {
			have := crashed(t, path)
			if err := Copy(t.Context(), path, path+"0"); err != nil {
				t.Fatal(err)
			}
			return have
		}, ""},
		{"a copy put over a killed one's file", func(t *testing.T, path string) []string {
			whole(t, path+"0")
			if err := Copy(t.Context(), path+"0", path+"1"); err != nil {
				t.Fatal(err)
			}
			crashed(t, path)
			copyFile(t, path+"1", path)
			return nil
		}, stray},
		{"a copy put over a killed one's file, the log removed", func(t *testing.T, path string) []string {
			have := whole(t, path+"0")
			if err := Copy(t.Context(), path+"0", path+"1"); err != nil {
				t.Fatal(err)
			}
			crashed(t, path)
			copyFile(t, path+"1", path)
			remove(t, path+"-wal", path+"-shm")
			return have
		}, ""},
		{"a closed file put over a killed one's", func(t *testing.T, path string) []string {
			whole(t, path+"0")
			crashed(t, path)
			copyFile(t, path+"0", path)
			return nil
		}, stray},
		{"a log without a file", func(t *testing.T, path string) []string {
			crashed(t, path)
			remove(t, path)
			return nil
		}, stray},
		{"an empty file", func(t *testing.T, path string) []string {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return nil
		}, "it is empty"},
		{"another file", func(t *testing.T, path string) []string {
			if err := os.WriteFile(path, []byte("sellerId,orderId\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return nil
		}, "it is no SQLite database"},
		{"closed, with an empty log as readers leave it", func(t *testing.T, path string) []string {
			have := whole(t, path)
			if err := os.WriteFile(path+"-wal", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return have
		}, ""},
		{"gone while it opened, the mark not yet in the file", func(t *testing.T, path string) []string {
			have := whole(t, path+"0")
			raw(t, path+"0", "PRAGMA user_version = 1")
			copyFile(t, path+"0", path)
			copyFile(t, path+"0-wal", path+"-wal")
			return have
		}, ""},
		{"gone while it closed, the log not yet cut", func(t *testing.T, path string) []string {
			have := crashed(t, path+"0")
			raw(t, path+"0", "PRAGMA wal_checkpoint(RESTART)", "PRAGMA user_version = 0", "PRAGMA wal_checkpoint(FULL)")
			copyFile(t, path+"0", path)
			copyFile(t, path+"0-wal", path+"-wal")
			return have
		}, ""},
		{"gone while it closed, the log cut", func(t *testing.T, path string) []string {
			have := crashed(t, path+"0")
			raw(t, path+"0", "PRAGMA wal_checkpoint(RESTART)", "PRAGMA user_version = 0", "PRAGMA wal_checkpoint(TRUNCATE)")
			copyFile(t, path+"0", path)
			copyFile(t, path+"0-wal", path+"-wal")
			return have
		}, ""},
		{"gone while it closed, the second mark not yet in the file", func(t *testing.T, path string) []string {
			have := crashed(t, path+"0")
			raw(t, path+"0", "PRAGMA wal_checkpoint(RESTART)", "PRAGMA user_version = 0")
			copyFile(t, path+"0", path)
			copyFile(t, path+"0-wal", path+"-wal")
			return have
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "books.db")
			want := c.lay(t, path)
			for range 2 { // and again after that
				have, err := sellersIn(t, path, false)
				if c.refuse != "" {
					if err == nil || !strings.Contains(err.Error(), c.refuse) {
						t.Errorf("%v, %v; want %q", have, err, c.refuse)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, have); diff != "" {
					t.Errorf("sellers:\n%s", diff)
				}
			}
		})
	}
}

// raw does to a database what SQLite does for us; it stays open until the test has ended.
func raw(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAcceptLostLog: who accepts the loss goes on with what the file has, and the next start needs no word.
func TestAcceptLostLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "books.db")
	hold(t, filepath.Join(dir, "running.db"))
	copyFile(t, filepath.Join(dir, "running.db"), path)
	if _, err := sellersIn(t, path, true); err != nil {
		t.Fatal(err)
	}
	if _, err := sellersIn(t, path, false); err != nil {
		t.Error(err)
	}
}

// TestClosedBesideAReader: a copy that takes long holds neither the end nor the next start up.
func TestClosedBesideAReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	w := hold(t, path) // this process may not look at the file while it has it open
	reader, err := openFile(path, "mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := reader.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM seller").Scan(&n); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	w.kill(t)
	after := startWriter(t, path) // three rounds: each closes and opens beside the reader
	after.until(t, 9)
	after.kill(t)
	if err := errors.Join(tx.Rollback(), reader.Close()); err != nil {
		t.Fatal(err)
	}
	have, err := sellersIn(t, path, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range append(w.wrote, after.wrote...) {
		if !slices.Contains(have, id) {
			t.Errorf("%s is lost", id)
		}
	}
}
