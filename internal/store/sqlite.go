package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	modernc "modernc.org/sqlite" // the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// sqlite is a file with one connection that writes and several that read snapshots beside it (write-ahead log). Every
// commit is on disk before it is answered: synchronous=FULL.
type sqlite struct {
	clock    *Clock
	unlock   func() error // lets another process write
	pool     *sql.DB
	writer   *sql.Conn // the only connection of pool; owned by the writer goroutine, and so is what follows
	writes   *statements
	carried  *View            // what the next group need not load
	upcoming func() []*queued // units that wait
	ids      idRange
	readPool *sql.DB
	readers  chan *reader // the readers that are free
	gone     chan struct{}
}

func openSQLite(ctx context.Context, path string, acceptLostLog bool, clock *Clock, upcoming func() []*queued) (_ *sqlite, err error) {
	s := &sqlite{clock: clock, upcoming: upcoming, carried: newView(), gone: make(chan struct{})}
	dsn := func(pragmas ...string) string {
		q := url.Values{"_pragma": append(pragmas, "busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)")}
		return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
	}
	if s.unlock, err = Lock(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.unlock())
		}
	}()
	f, err := prepareFile(path)
	if err != nil {
		return nil, err
	}
	if err := f.logFits(); err != nil && !(acceptLostLog && errors.Is(err, ErrLogMissing)) {
		if f.made {
			err = errors.Join(err, os.Remove(path))
		}
		return nil, err
	}
	defer func() { err = damaged(err) }()
	// secure_delete: what is erased is overwritten with zeros, not only given free.
	if s.pool, err = sql.Open("sqlite", dsn("cache_size(-32768)", "secure_delete(ON)", "wal_autocheckpoint(8000)")); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.pool.Close())
		}
	}()
	s.pool.SetMaxOpenConns(1)
	if err := f.checkAtStart(ctx, s.pool); err != nil {
		return nil, err
	}
	if err := f.markInUse(ctx, s.pool); err != nil { // before any other change
		return nil, err
	}
	folder, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.pool, folder)
	if err != nil {
		return nil, err
	}
	if _, err := provider.Up(ctx); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	if err := s.openWriter(ctx); err != nil {
		return nil, err
	}
	if s.readPool, err = sql.Open("sqlite", dsn("query_only(1)")); err != nil {
		return nil, err
	}
	s.readPool.SetMaxOpenConns(readersMost)
	s.readers = make(chan *reader, readersMost)
	for range readersMost {
		s.readers <- &reader{}
	}
	return s, nil
}

func (s *sqlite) close() error {
	s.writes.close()
	close(s.gone)
	for range readersMost {
		if r := <-s.readers; r.conn != nil {
			r.st.close()
			r.conn.Close()
		}
	}
	return errors.Join(s.readPool.Close(), markWhole(context.Background(), s.writer), s.writer.Close(), s.pool.Close(), s.unlock())
}

// One process alone has the file.
func (s *sqlite) shared() bool { return false }
func (s *sqlite) copyTradeRows(context.Context, int64, []pgdb.TradeRow) (bool, error) {
	return false, nil
}
func (s *sqlite) take(context.Context, string, float64, float64, float64) (bool, error) {
	return false, errors.New("one node keeps its buckets in memory")
}
func (s *sqlite) claim(context.Context, string) (Claim, bool, error) {
	return Claim{Held: func(context.Context) bool { return true }, Release: func() {}}, true, nil
}

func (s *sqlite) openWriter(ctx context.Context) (err error) {
	s.writer, err = s.pool.Conn(ctx)
	if err == nil {
		s.writes = &statements{prepare: s.writer.PrepareContext, kept: map[string]*sql.Stmt{}}
	}
	return err
}

func (s *sqlite) queries() *pgdb.Queries { return pgdb.New(sqliteConn{s.writer, s.writes}) }

func (s *sqlite) begin(ctx context.Context, group []*queued, _ bool) (transaction, *View, error) {
	if err := s.draw(ctx, group); err != nil {
		return nil, nil, fmt.Errorf("%w: %w: %w", ErrDatabase, ErrAbsent, err)
	}
	if _, err := s.writer.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, nil, fmt.Errorf("%w: %w: %w", ErrDatabase, ErrAbsent, err)
	}
	v := s.carried
	s.carried = newView() // unless this group succeeds, the next one loads everything anew
	for _, u := range group {
		if err := v.loadEach(ctx, s.queries(), u.Keys); err != nil {
			return nil, nil, errors.Join(err, s.rollback(ctx))
		}
	}
	return s, v, nil
}

// draw gives each unit its time and ids, once. The ids are taken by a commit of their own: what a group that is rolled back
// has drawn is not drawn again.
func (s *sqlite) draw(ctx context.Context, group []*queued) error {
	now := Millis(s.clock.Now())
	for _, u := range group {
		if u.given.ids != nil {
			continue
		}
		need := u.idsNeeded()
		if s.ids.next+need > s.ids.end {
			many := max(idsPerUnit*1024, need)
			var end int64
			if err := s.writer.QueryRowContext(ctx, "UPDATE id_block SET next = next + ? WHERE name = 'row' RETURNING next", many).Scan(&end); err != nil {
				return fmt.Errorf("draw ids: %w", err)
			}
			s.ids = idRange{end - many, end}
		}
		u.given.now, u.given.ids = now, []idRange{{s.ids.next, s.ids.next + need}}
		s.ids.next += need
	}
	return nil
}

func (s *sqlite) commit(ctx context.Context, v *View, apart []string) error {
	if len(apart) > 0 {
		return s.save(ctx, v, apart)
	}
	foreseen := s.foresee(ctx, v)
	err := s.save(ctx, v, nil)
	if next := foreseen(); err == nil {
		s.carried = v.carry()
		s.carried.join(next)
	}
	return err
}

// foresee loads what the units that wait will look at and v does not have, beside the commit of v's group, which changes
// none of it: what that group looks at is all in v. The function that it returns waits for the view of it.
func (s *sqlite) foresee(ctx context.Context, v *View) func() *View {
	next := newView()
	units := s.upcoming()
	if len(units) == 0 {
		return func() *View { return next }
	}
	var r *reader
	select {
	case r = <-s.readers:
	default: // all are busy
		return func() *View { return next }
	}
	loaded := make(chan error, 1)
	go func() {
		defer func() { s.readers <- r }()
		loaded <- s.readOn(ctx, r, func(q *pgdb.Queries) error {
			for _, u := range units {
				if err := next.loadEach(ctx, q, v.lacking(u.Keys)); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	return func() *View {
		if err := <-loaded; err != nil {
			return newView() // who needs it will meet the error
		}
		return next
	}
}

func (s *sqlite) save(ctx context.Context, v *View, apart []string) error {
	rows := &rowSaver{ctx: ctx, conn: sqliteConn{s.writer, s.writes}}
	v.save(rows)
	for _, app := range apart {
		rows.exec("UPDATE app SET revision = revision + 1 WHERE app_id = ?", app)
	}
	if err := rows.err; err != nil {
		if isFull(err) {
			err = fmt.Errorf("%w: %w", ErrAbsent, err)
		}
		return errors.Join(err, s.rollback(ctx))
	}
	if _, err := s.writer.ExecContext(ctx, "COMMIT"); isFull(err) { // its last part is what says that it is one
		return errors.Join(fmt.Errorf("%w: %w: %w", ErrDatabase, ErrAbsent, err), s.rollback(ctx))
	} else if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrUnknown, err), s.rollback(ctx))
	}
	return nil
}

func isFull(err error) bool {
	e, ok := errors.AsType[*modernc.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_FULL
}

// rollback puts a fresh connection in the place of one whose transaction cannot be ended: whatever is open on that one ends
// with it.
func (s *sqlite) rollback(ctx context.Context) error {
	if _, err := s.writer.ExecContext(ctx, "ROLLBACK"); err == nil {
		return nil
	}
	s.writes.close()
	discard(s.writer)
	return s.openWriter(ctx)
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

func (s *sqlite) read(ctx context.Context, _ bool, fn func(q *pgdb.Queries) error) error {
	select {
	case r := <-s.readers:
		defer func() { s.readers <- r }()
		return s.readOn(ctx, r, fn)
	case <-s.gone:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sqlite) readOn(ctx context.Context, r *reader, fn func(q *pgdb.Queries) error) (err error) {
	whole := context.WithoutCancel(ctx) // a snapshot begins and ends whatever becomes of the caller
	if r.conn == nil {
		if r.conn, err = s.readPool.Conn(whole); err != nil {
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
	st, err := s.prepare(context.WithoutCancel(ctx), positional(query))
	if err != nil {
		return nil, fault(fmt.Errorf("prepare %s: %w", firstLine(query), err))
	}
	s.kept[query] = st
	return st, nil
}

var parameter = regexp.MustCompile(`\$\d+`)

// positional writes the parameters as ? where each stands once and in order: the driver looks a named one up by its name at
// every run.
func positional(query string) string {
	for i, p := range parameter.FindAllString(query, -1) {
		if p != "$"+strconv.Itoa(i+1) {
			return query
		}
	}
	return parameter.ReplaceAllString(query, "?")
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
	return fmt.Errorf("%w: %w", ErrDatabase, cause{err})
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
