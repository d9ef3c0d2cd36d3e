package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

var seed = flag.Uint64("seed", 0, "of the moments at which a process is killed; 0: others each time")

// writeVariable makes this program a process that writes to a database until it is killed; it names the file.
const (
	writeVariable = "INFINIA_TEST_WRITE"
	onceVariable  = "INFINIA_TEST_WRITE_ONCE"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writeVariable); path != "" {
		if err := writeUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	m.Run()
}

// writeUntilKilled opens, writes and closes, again and again, and prints each seller after its commit. With
// onceVariable it stays open after the first round.
func writeUntilKilled(path string) error {
	go func() { io.Copy(io.Discard, os.Stdin); os.Exit(1) }() //nolint:errcheck // it ends with the parent
	ctx := context.Background()
	for round := 0; ; round++ {
		db, err := Open(ctx, Config{Database: path})
		if err != nil {
			return err
		}
		for n := range 3 {
			id := fmt.Sprintf("%d-%d-%d", os.Getpid(), round, n)
			if err := db.Do(ctx, Unit{Keys: keysOf(id), Judge: putSeller(id)}); err != nil {
				return err
			}
			fmt.Println(id)
		}
		if os.Getenv(onceVariable) != "" {
			select {}
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
}

// writer is such a process.
type writer struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	wrote []string
}

func startWriter(t *testing.T, path string, env ...string) *writer {
	t.Helper()
	w := &writer{cmd: exec.Command(os.Args[0])}
	w.cmd.Env = append(append(os.Environ(), writeVariable+"="+path), env...)
	w.cmd.Stderr = t.Output()
	if _, err := w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cmd.Process.Kill(); _ = w.cmd.Wait() })
	w.lines = bufio.NewScanner(out)
	return w
}

func (w *writer) until(t *testing.T, n int) {
	t.Helper()
	for len(w.wrote) < n {
		if !w.lines.Scan() {
			t.Fatal("the writer ended by itself")
		}
		w.wrote = append(w.wrote, w.lines.Text())
	}
}

func (w *writer) kill(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for w.lines.Scan() {
		w.wrote = append(w.wrote, w.lines.Text())
	}
	w.cmd.Wait() //nolint:errcheck // it was killed
}

// hold returns a process that has written three sellers and has the file open.
func hold(t *testing.T, path string) *writer {
	t.Helper()
	w := startWriter(t, path, onceVariable+"=1")
	w.until(t, 3)
	return w
}

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
