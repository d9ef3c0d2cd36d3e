package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Copy takes a snapshot of an SQLite database, to which another process may be writing, into a new file. It changes nothing
// at from.
func Copy(ctx context.Context, from, to string) (err error) {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	is, err := lookAt(f, false)
	if err != nil {
		return err
	}
	if err := is.logFits(); err != nil {
		return err
	}
	if to, err = filepath.Abs(to); err != nil { // SQLite would take file:x for a URL
		return err
	}
	db, err := openFile(from, "mode=ro", "_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var tables int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name IN ('goose_db_version', 'account', 'posting')`).Scan(&tables); err != nil {
		if e, ok := errors.AsType[*driver.Error](err); ok && (e.Code()&0xff == codes.SQLITE_CANTOPEN || e.Code()&0xff == codes.SQLITE_READONLY) {
			err = fmt.Errorf("%w: even to read it, SQLite has to write to %[2]s-shm and %[2]s-wal: do this as the user of the server", err, from)
		}
		return damaged(err)
	}
	if tables != 3 {
		return errors.New("this database holds no books of infinia")
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, to)
	return damaged(err)
}

func openFile(path string, options ...string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: strings.Join(options, "&")}).String())
}

// Backup writes a Copy that has its name only when it is whole, on the disk and has passed check. One that has not passed is
// left for whoever examines it, under the name with .part behind it.
func Backup(ctx context.Context, from, to string, check func(part string) error) error {
	if err := vacant(to, "a backup replaces nothing: name another file"); err != nil {
		return err
	}
	part := to + ".part"
	if err := vacant(part, "another backup is writing it, or one has not come to its end: then remove it"); err != nil {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // the keys are in it
	if err != nil {
		return err
	}
	if err = Copy(ctx, from, part); err != nil {
		err = fmt.Errorf("%s: %w", from, err)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := check(part); ctx.Err() != nil {
		return errors.Join(err, os.Remove(part))
	} else if err != nil {
		return fmt.Errorf("%s, left for examination: %w", part, err)
	}
	if err := vacant(to, "it has come while this backup was written, which is "+part); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func vacant(path, otherwise string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s is there already; %s", path, otherwise)
	}
	return err
}

// ReadCopy looks for damage in an SQLite file that nobody writes to, whole, and runs fn on it. It changes nothing.
func ReadCopy(ctx context.Context, path string, fn func(q *pgdb.Queries) error) (err error) {
	// Nothing is locked or made beside it, whatever its mode. The cache serves the look-ups of the check.
	db, err := openFile(path, "immutable=1", "_pragma=cache_size(-65536)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := findDamage(ctx, db, "integrity_check"); err != nil {
		return err
	}
	var version int
	if err := db.QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version").Scan(&version); err != nil {
		return err
	}
	if newest, err := newestVersion(); err != nil || version != newest {
		return errors.Join(err, fmt.Errorf("its tables are of version %d, and this program's of version %d: use the program that the server runs", version, newest))
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	st := &statements{prepare: conn.PrepareContext, kept: map[string]*sql.Stmt{}}
	defer func() { st.close(); err = errors.Join(err, conn.Close()) }()
	return fn(pgdb.New(sqliteConn{conn, st}))
}

// newestVersion is the number of the last migration.
func newestVersion() (int, error) {
	files, err := fs.Glob(migrations, "migrations/sqlite/*.sql")
	if err != nil {
		return 0, err
	}
	number, _, _ := strings.Cut(filepath.Base(files[len(files)-1]), "_")
	return strconv.Atoi(number)
}
