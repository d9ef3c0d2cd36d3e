package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

//go:embed migrations
var migrations embed.FS

// openSQLite opens one connection that writes and several that read snapshots beside it (write-ahead log). Every commit
// is on disk before it is answered: synchronous=FULL.
func (db *DB) openSQLite(ctx context.Context, path string) (err error) {
	dsn := func(pragmas ...string) string {
		q := url.Values{"_pragma": append(pragmas, "busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)")}
		return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
	}
	if db.unlock, err = lock(path); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.unlock())
		}
	}()
	// The keys are in it. SQLite gives the files beside it the same mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Chmod(0o600), file.Close()); err != nil {
		return err
	}
	if db.pool, err = sql.Open("sqlite", dsn("cache_size(-65536)")); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.pool.Close())
		}
	}()
	db.pool.SetMaxOpenConns(1)
	folder, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db.pool, folder)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := db.openWriter(ctx); err != nil {
		return err
	}
	if db.readPool, err = sql.Open("sqlite", dsn("query_only(1)")); err != nil {
		return err
	}
	db.readPool.SetMaxOpenConns(readersMost)
	db.readers = make(chan *reader, readersMost)
	for range readersMost {
		db.readers <- &reader{}
	}
	return nil
}

func (db *DB) openWriter(ctx context.Context) (err error) {
	db.writer, err = db.pool.Conn(ctx)
	if err == nil {
		db.writes = &statements{prepare: db.writer.PrepareContext, kept: map[string]*sql.Stmt{}}
	}
	return err
}

// renewWriter puts a fresh connection in the place of one whose transaction cannot be ended.
func (db *DB) renewWriter(ctx context.Context) error {
	db.writes.close()
	discard(db.writer)
	return db.openWriter(ctx)
}

// discard closes a connection for good; Close alone would give it back to its pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	conn.Close()
}

const readersMost = 8

// reader is a connection for snapshots, opened at its first use. Each has its own prepared statements: preparing on the
// pool while all its connections are inside a transaction would wait for ever.
type reader struct {
	conn *sql.Conn
	st   *statements
}

func (db *DB) read(ctx context.Context, r *reader, fn func(q *pgdb.Queries) error) (err error) {
	whole := context.WithoutCancel(ctx) // a snapshot begins and ends whatever becomes of the caller
	if r.conn == nil {
		if r.conn, err = db.readPool.Conn(whole); err != nil {
			r.conn = nil
			return fault(err)
		}
		r.st = &statements{prepare: r.conn.PrepareContext, kept: map[string]*sql.Stmt{}}
	}
	if _, err := r.conn.ExecContext(whole, "BEGIN"); err != nil {
		r.drop()
		return fault(err)
	}
	defer func() {
		if _, err := r.conn.ExecContext(whole, "ROLLBACK"); err != nil {
			r.drop()
		}
	}()
	return fn(pgdb.New(sqliteConn{r.conn, r.st}))
}

// drop gives up a connection that may be left inside a transaction.
func (r *reader) drop() {
	r.st.close()
	discard(r.conn)
	r.conn = nil
}

// statements keeps each query of one connection prepared: the generated code has a fixed number of them. Whoever holds
// the connection holds it.
type statements struct {
	prepare func(context.Context, string) (*sql.Stmt, error)
	kept    map[string]*sql.Stmt
}

func (s *statements) get(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := s.kept[query]; ok {
		return st, nil
	}
	st, err := s.prepare(context.WithoutCancel(ctx), query)
	if err != nil {
		return nil, fault(fmt.Errorf("prepare %s: %w", firstLine(query), err))
	}
	s.kept[query] = st
	return st, nil
}

func (s *statements) close() {
	for _, st := range s.kept {
		st.Close()
	}
}

func firstLine(query string) string {
	line, _, _ := strings.Cut(query, "\n")
	return line
}

// sqliteConn runs the generated queries on a connection. It answers with pgx's types, because the generated code is
// written for them.
type sqliteConn struct {
	conn *sql.Conn
	st   *statements
}

func (c sqliteConn) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	st, err := c.st.get(ctx, query)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	_, err = st.ExecContext(ctx, args...)
	return pgconn.CommandTag{}, fault(err)
}

func (c sqliteConn) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	st, err := c.st.get(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	return &sqliteRows{rows: rows}, fault(err)
}

func (c sqliteConn) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	st, err := c.st.get(ctx, query)
	if err != nil {
		return sqliteRow{err: err}
	}
	return sqliteRow{row: st.QueryRowContext(ctx, args...)}
}

type sqliteRow struct {
	row *sql.Row
	err error
}

func (r sqliteRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	err := r.row.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return pgx.ErrNoRows
	}
	return fault(err)
}

// fault marks an error as the database's own; that a caller has gone away is none.
func fault(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDatabase, err)
}

// sqliteRows has the part of pgx.Rows that generated code calls; the rest of the interface has no meaning here.
type sqliteRows struct {
	pgx.Rows
	rows *sql.Rows
	err  error
}

func (r *sqliteRows) Next() bool { return r.rows.Next() }
func (r *sqliteRows) Scan(dest ...any) error {
	return r.rows.Scan(dest...)
}
func (r *sqliteRows) Close() {
	if err := r.rows.Close(); err != nil && r.err == nil {
		r.err = err
	}
}
func (r *sqliteRows) Err() error { return fault(errors.Join(r.rows.Err(), r.err)) }

// Free says whether no process has the database open.
func Free(path string) error {
	release, err := lock(path)
	if err != nil {
		return err
	}
	return release()
}

// Copy takes a snapshot of a database, to which a server may be writing, into a new file. It changes nothing at from.
func Copy(ctx context.Context, from, to string) (err error) {
	path, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro"}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var tables int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name IN ('goose_db_version', 'account', 'posting')`).Scan(&tables); err != nil {
		return err
	}
	if tables != 3 {
		return errors.New("this database holds no books of infinia")
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, to)
	return err
}
