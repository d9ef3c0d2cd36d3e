package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	pglock "github.com/pressly/goose/v3/lock"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// postgres is a database that other nodes may share. A node writes on one connection; what keeps nodes apart is that a
// group locks the rows of the apps that it names, in order, before it reads anything of theirs. Where the node has all of
// their rows from its own last group, it judges ahead, and locks them to find that no other node was at work since.
type postgres struct {
	clock  *Clock
	config *pgx.ConnConfig // of the connection that writes

	// Owned by the writer goroutine.
	conn    *pgx.Conn      // nil while there is none
	warned  *pgconn.Notice // what the server warned of during the last commit
	apps    []string       // of the present group
	ahead   bool           // the present group was judged before its apps were locked
	carried *View          // what the next group need not load, unless another node has changed its apps
	drawn   drawn          // what the last group that loaded has left
	wary    int            // how many groups load before one is judged ahead again

	pool   *pgxpool.Pool // reads
	closed atomic.Bool

	claims claims
}

func openPostgres(ctx context.Context, url string, clock *Clock) (_ *postgres, err error) {
	p := &postgres{clock: clock, carried: newView()}
	reads, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err // it names no password
	}
	reads.MaxConns = max(reads.MaxConns, readersMost)
	prepareConfig(reads.ConnConfig)
	p.config = reads.ConnConfig.Copy()
	// The statements of a group name their rows by key, a few or some hundred of them. Whatever the server knows of the
	// tables, which may have been empty a minute ago, the index is right.
	for name, value := range map[string]string{"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "plan_cache_mode": "force_generic_plan",
		"lock_timeout": "15s", "idle_in_transaction_session_timeout": "60s"} {
		p.config.RuntimeParams[name] = value
	}
	p.config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			p.warned = n
		}
	}
	p.claims.config = reads.ConnConfig.Copy()
	if err := migratePostgres(ctx, reads.ConnConfig); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	if p.pool, err = pgxpool.NewWithConfig(ctx, reads); err != nil {
		return nil, err
	}
	return p, nil
}

// prepareConfig sets what every connection has in common.
func prepareConfig(c *pgx.ConnConfig) {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 3 * time.Second
	}
	if c.ValidateConnect == nil { // a standby answers too, and is of no use
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	// A server that is gone without a word is noticed in seconds.
	dialer := &net.Dialer{Timeout: c.ConnectTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control: boundUnanswered}
	c.DialFunc = dialer.DialContext
	for name, value := range map[string]string{"application_name": "infinia", "jit": "off", "tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"} {
		if _, ok := c.RuntimeParams[name]; !ok {
			c.RuntimeParams[name] = value
		}
	}
}

// migratePostgres brings the tables up to date, one node at a time.
func migratePostgres(ctx context.Context, config *pgx.ConnConfig) (err error) {
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	folder, err := fs.Sub(migrations, "migrations/postgres")
	if err != nil {
		return err
	}
	locker, err := pglock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, folder, goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

func (p *postgres) close() error {
	p.closed.Store(true)
	p.pool.Close()
	p.claims.close()
	p.drop()
	return nil
}

func (p *postgres) shared() bool { return true }

// drop gives up the connection that writes; the next group makes another, to whichever server is the primary then.
func (p *postgres) drop() {
	if p.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.conn.Close(ctx)
		p.conn = nil
	}
	p.carried = newView() // the next server may not have it
}

func (p *postgres) begin(ctx context.Context, group []*queued, ahead bool) (transaction, *View, error) {
	if p.ahead = ahead && p.wary == 0 && p.conn != nil; p.ahead {
		if v := p.carriedFor(group); v != nil {
			return p, v, nil
		}
		p.ahead = false
	}
	for {
		fresh := p.conn == nil
		if fresh {
			conn, err := pgx.ConnectConfig(ctx, p.config)
			if err != nil {
				return nil, nil, fmt.Errorf("%w: %w: %w", ErrDatabase, ErrAbsent, cause{err})
			}
			p.conn, p.carried = conn, newView()
		}
		v, err := p.load(ctx, group)
		if err == nil {
			return p, v, nil
		}
		err = p.failed(err)
		if p.conn != nil {
			err = errors.Join(err, p.rollback(ctx))
		}
		if fresh || !errors.Is(err, ErrAbsent) {
			return nil, nil, err
		}
		p.drop() // it is from before a restart or a failover; nothing was sent that could stand
	}
}

func (p *postgres) queries() *pgdb.Queries { return pgdb.New(marked{p.conn, p.failed}) }

func (p *postgres) commit(ctx context.Context, v *View, apart []string) error {
	p.warned = nil
	err := p.save(ctx, v, apart)
	refused, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil && p.warned != nil: // it has given up waiting for the standby
		return fmt.Errorf("%w: %s: %s", ErrUnknown, p.warned.Message, p.warned.Detail)
	case err == nil:
		if len(apart) == 0 && !slices.ContainsFunc(p.apps, func(app string) bool { return !v.Apps.asked[app] }) {
			p.carried = v.carry()
		}
		return nil
	case ok && refused.SeverityUnlocalized == "ERROR": // whichever statement it was, the transaction is void
		if err = p.failed(err); p.ahead { // a group that loads finds out what it is, on another connection if need be
			err = fmt.Errorf("%w: %w", errStale, err)
			p.wary = waryGroups
		}
		if p.conn != nil {
			err = errors.Join(err, p.rollback(ctx))
		}
		return err
	}
	p.drop()
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

func (p *postgres) rollback(ctx context.Context) error {
	if p.conn == nil {
		return nil
	}
	if p.conn.IsClosed() || p.conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	if _, err := p.conn.Exec(ctx, "ROLLBACK"); err != nil {
		p.drop() // with it whatever was open
	}
	return nil
}

// failed marks an error after which nothing was written by what can be done about it.
func (p *postgres) failed(err error) error {
	if err == nil {
		return nil
	}
	if p.conn == nil || p.conn.IsClosed() { // whatever its last words were
		p.drop()
		return fmt.Errorf("%w: %w: %w", ErrDatabase, ErrAbsent, err)
	}
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch class := refused.Code[:2]; {
	case refused.Code == "23505", class == "40": // a key that another node has just made; a deadlock
		return fmt.Errorf("%w: %w: %w", ErrDatabase, errRaced, err)
	case refused.Code == "25006": // this server has become a standby
		p.drop()
		fallthrough
	case refused.Code == "55P03", class == "53", class == "57", class == "58": // locked for long, full, shut down, disk
		return fmt.Errorf("%w: %w: %w", ErrDatabase, ErrAbsent, err)
	}
	return fmt.Errorf("%w: %w", ErrDatabase, err)
}

func (p *postgres) read(ctx context.Context, single bool, fn func(q *pgdb.Queries) error) error {
	conn, err := p.pool.Acquire(ctx)
	if p.closed.Load() {
		return ErrClosed
	}
	if err != nil {
		return absent(ctx, err)
	}
	s := &snapshot{conn: conn.Conn(), single: single}
	s.renew = func() (err error) {
		conn.Release()
		p.pool.Reset() // its connections may be from before a restart or a failover
		if conn, err = p.pool.Acquire(ctx); err == nil {
			s.conn = conn.Conn()
		}
		return err
	}
	defer func() { // also when fn panics
		if conn == nil {
			return
		}
		if s.begun && !s.conn.IsClosed() {
			_, _ = s.conn.Exec(context.WithoutCancel(ctx), "ROLLBACK") // nothing was written, and a connection that fails is dropped
		}
		conn.Release()
	}()
	return fn(pgdb.New(marked{s, func(err error) error {
		if err != nil && s.conn.IsClosed() {
			return absent(ctx, err)
		}
		return fault(err)
	}}))
}

// absent marks that there is no connection, unless that is because the caller has gone away.
func absent(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return fmt.Errorf("%w: %w: %w", ErrDatabase, ErrAbsent, cause{err})
	}
	return fault(err)
}

// cause is why a database failed. The server's socket may be a file that is missing, which is no file that a caller has
// asked for.
type cause struct{ error }

func (c cause) Is(target error) bool { return target != fs.ErrNotExist && errors.Is(c.error, target) }
func (c cause) As(target any) bool   { return errors.As(c.error, target) }

// ReadPostgres runs fn on a snapshot of a database that need not be a primary's, and changes nothing.
func ReadPostgres(ctx context.Context, url string, fn func(q *pgdb.Queries) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fault(err)
	}
	return errors.Join(fn(pgdb.New(marked{&snapshot{conn: conn}, fault})), conn.Close(context.WithoutCancel(ctx)))
}

// snapshot runs queries on the state at the first of them, with which it begins.
type snapshot struct {
	conn   *pgx.Conn
	single bool // one query comes, which needs no transaction
	begun  bool
	renew  func() error // puts another connection in the place of one that was broken before the first query; may be nil
}

func (s *snapshot) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return pgconn.CommandTag{}, errors.New("a snapshot is read only")
}

func (s *snapshot) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	if s.begun {
		return s.conn.Query(ctx, query, args...)
	}
	rows, err := s.begin(ctx, query, args)
	if err != nil && s.conn.IsClosed() && s.renew != nil && ctx.Err() == nil {
		if err := s.renew(); err != nil {
			return nil, err
		}
		rows, err = s.begin(ctx, query, args)
	}
	return rows, err
}

// begin sends the first query behind the beginning, so that it costs no round trip of its own.
func (s *snapshot) begin(ctx context.Context, query string, args []any) (_ pgx.Rows, err error) {
	b := &pgx.Batch{}
	if !s.single {
		b.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	}
	b.Queue(query, args...)
	results := s.conn.SendBatch(ctx, b)
	defer func() {
		if err != nil {
			err = errors.Join(err, results.Close())
		}
	}()
	if !s.single {
		if _, err := results.Exec(); err != nil {
			return nil, err
		}
		s.begun = true
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	return &snapshotRows{rows, results}, nil
}

func (s *snapshot) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	rows, err := s.Query(ctx, query, args...)
	return snapshotRow{rows, err}
}

// snapshotRows are of the first query, which came in a batch.
type snapshotRows struct {
	pgx.Rows
	batch pgx.BatchResults
}

func (r *snapshotRows) Close() {
	r.Rows.Close()
	r.batch.Close() //nolint:errcheck // what failed is in Err
}

type snapshotRow struct {
	rows pgx.Rows
	err  error
}

func (r snapshotRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	err := r.rows.Scan(dest...)
	r.rows.Close()
	return errors.Join(err, r.rows.Err())
}

// marked marks the errors of the database as such.
type marked struct {
	conn pgdb.DBTX
	mark func(error) error
}

func (m marked) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	tag, err := m.conn.Exec(ctx, query, args...)
	return tag, m.mark(err)
}

func (m marked) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	rows, err := m.conn.Query(ctx, query, args...)
	return markedRows{rows, m.mark}, m.mark(err)
}

func (m marked) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return markedRow{m.conn.QueryRow(ctx, query, args...), m.mark}
}

type markedRows struct {
	pgx.Rows
	mark func(error) error
}

func (r markedRows) Err() error { return r.mark(r.Rows.Err()) }

type markedRow struct {
	row  pgx.Row
	mark func(error) error
}

func (r markedRow) Scan(dest ...any) error {
	err := r.row.Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return r.mark(err)
}

func (p *postgres) take(ctx context.Context, bucket string, perSecond, most, units float64) (bool, error) {
	tag, err := p.pool.Exec(ctx, `INSERT INTO bucket AS a (name, units, at) VALUES ($1, ($3::float8 - $4::float8) * 1000, clock_timestamp())
		ON CONFLICT (name) DO UPDATE SET at = clock_timestamp(),
			units = least($3::float8 * 1000, a.units + extract(epoch FROM clock_timestamp() - a.at) * $2::float8 * 1000) - $4::float8 * 1000
		WHERE least($3::float8 * 1000, a.units + extract(epoch FROM clock_timestamp() - a.at) * $2::float8 * 1000) >= $4::float8 * 1000`,
		bucket, perSecond, most, units)
	return tag.RowsAffected() == 1, fault(err)
}

// claims holds names on one connection by advisory locks, which end with it.
type claims struct {
	config *pgx.ConnConfig

	mu   sync.Mutex
	conn *pgx.Conn // guarded by mu; nil while there is none
}

func (p *postgres) claim(ctx context.Context, name string) (claim Claim, ok bool, err error) {
	c := &p.claims
	h := fnv.New64a()
	h.Write([]byte(name))
	key := int64(h.Sum64())
	c.mu.Lock()
	defer c.mu.Unlock()
	for try := 0; ; try++ {
		if c.conn == nil || c.conn.IsClosed() {
			if c.conn, err = pgx.ConnectConfig(ctx, c.config); err != nil {
				c.conn = nil
				return claim, false, fault(err)
			}
		}
		err = c.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&ok)
		if err == nil || try > 0 || !c.conn.IsClosed() {
			break
		}
	}
	if err != nil || !ok {
		return claim, false, fault(err)
	}
	on := c.conn
	claim.Held = func(ctx context.Context) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.conn == on && on.Ping(ctx) == nil
	}
	claim.Release = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conn == on {
			_, _ = on.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", key) // a connection that fails has lost it
		}
	}
	return claim, true, nil
}

func (c *claims) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.conn.Close(ctx)
		c.conn = nil
	}
}
