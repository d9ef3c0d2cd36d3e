//go:build linux

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// books is an app in a database that is looked at from beside, and what the test has asked for in it.
type books struct {
	*testing.T
	side *sql.DB // another way to the database, to which no harm is done

	mu     sync.Mutex
	stands map[string]bool // guarded by mu; of each number, whether Do said that it stands
	again  atomic.Int64    // units that found that they had acted before
}

var (
	platform = AccountKey{"demo", "platform", "", "CNH"}
	external = AccountKey{"demo", "external", "", "CNH"}
)

// newBooks makes the app and its accounts by way of db.
func newBooks(t *testing.T, db *DB, database string) *books {
	t.Helper()
	driver := "sqlite"
	if IsPostgres(database) {
		driver = "pgx"
	}
	side, err := sql.Open(driver, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { side.Close() })
	if err := db.Do(t.Context(), Unit{Name: "app", Keys: Keys{Accounts: []AccountKey{platform, external}}, Judge: func(v *View) error {
		for _, k := range []AccountKey{platform, external} {
			v.Accounts.Put(k, pgdb.Account{ID: v.NextID(), AppID: k.AppID, Kind: k.Kind, Currency: k.Currency})
		}
		return nil
	}, Alone: func(ctx context.Context, v *View, q *pgdb.Queries) error {
		return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "demo", Settings: "{}"})
	}}); err != nil {
		t.Fatal(err)
	}
	return &books{T: t, side: side, stands: map[string]bool{}}
}

var errRefused = errors.New("refused")

// unit is a request as the operations make them: it is looked up first, acts once, and leaves its row. One whose number
// ends in "refused" leaves nothing else; one whose number ends in "fails" leaves nothing.
func (b *books) unit(no string) Unit {
	k := RequestKey{"demo", "act", no}
	return Unit{Name: no, Keys: Keys{Requests: []RequestKey{k}, Accounts: []AccountKey{platform, external}}, Judge: func(v *View) error {
		if _, ok := v.Requests.Get(k); ok {
			b.again.Add(1)
			return nil
		}
		post(v, 1)
		switch {
		case strings.HasSuffix(no, "fails"):
			return errRefused
		case strings.HasSuffix(no, "refused"):
			v.Reset()
		}
		v.Requests.Put(k, pgdb.Request{ID: v.NextID(), AppID: k.AppID, Operation: k.Operation, RequestNo: no, FieldHashes: []byte{}})
		return nil
	}}
}

func post(v *View, amount int64) {
	from, _ := v.Accounts.Get(external)
	to, _ := v.Accounts.Get(platform)
	from.Balance, from.LastNo = from.Balance-amount, from.LastNo+1
	to.Balance, to.LastNo = to.Balance+amount, to.LastNo+1
	v.Accounts.Put(external, from)
	v.Accounts.Put(platform, to)
	v.Post(pgdb.Posting{ID: v.NextID(), Amount: amount, FromID: from.ID, FromNo: from.LastNo, FromBalance: from.Balance, ToID: to.ID, ToNo: to.LastNo, ToBalance: to.Balance})
}

// do asks for each number at once and keeps what it was told.
func (b *books) do(db *DB, nos ...string) []error {
	units := make([]Unit, len(nos))
	for i, no := range nos {
		units[i] = b.unit(no)
	}
	errs := db.DoAll(b.Context(), units)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, no := range nos {
		b.stands[no] = b.stands[no] || errs[i] == nil
	}
	return errs
}

// must is do for what has to succeed, but for the units that fail by themselves.
func (b *books) must(db *DB, nos ...string) {
	b.Helper()
	for i, err := range b.do(db, nos...) {
		if strings.HasSuffix(nos[i], "fails") != errors.Is(err, errRefused) || err != nil && !errors.Is(err, errRefused) {
			b.Errorf("%s: %v", nos[i], err)
		}
	}
}

// check looks whether what stands is what Do said, and everything acted exactly once. What is open may stand or not.
func (b *books) check(open ...string) {
	b.Helper()
	var numbers string
	var balance, postings int
	b.see(`SELECT coalesce(string_agg(request_no, ',' ORDER BY request_no), ''), (SELECT balance FROM account WHERE kind = 'platform'), (SELECT count(*) FROM posting)
		FROM request`, &numbers, &balance, &postings)
	stand := strings.FieldsFunc(numbers, func(r rune) bool { return r == ',' })
	b.mu.Lock()
	defer b.mu.Unlock()
	said := []string{}
	for no, stands := range b.stands {
		if stands || slices.Contains(open, no) && slices.Contains(stand, no) {
			said = append(said, no)
		}
	}
	slices.Sort(said)
	if diff := cmp.Diff(said, stand); diff != "" {
		b.Errorf("said to stand (-) and in the database (+):\n%s", diff)
	}
	acted := 0
	for _, no := range stand {
		if !strings.HasSuffix(no, "refused") {
			acted++
		}
	}
	if balance != acted || postings != acted {
		b.Errorf("%d have acted; the balance is %d after %d postings", acted, balance, postings)
	}
}

// see looks at the database from beside.
func (b *books) see(query string, into ...any) {
	b.Helper()
	if err := b.side.QueryRowContext(b.Context(), query).Scan(into...); err != nil {
		b.Fatal(err)
	}
}

// until waits for what happens elsewhere.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, again := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func several(prefix string) (nos []string) {
	for i, kind := range []string{"", "refused", "", "fails", "", "refused"} {
		nos = append(nos, fmt.Sprintf("%s-%d-%s", prefix, i, kind))
	}
	return nos
}

// TestConnectionIsCut: wherever the connection breaks, and however many units it carries, each has acted exactly once when
// Do says so, and nobody is told of the break.
func TestConnectionIsCut(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	p, through := storetest.StartProxy(t, database)
	db := open(t, through)
	b := newBooks(t, db, database)
	for _, statement := range []string{"BEGIN", "COMMIT"} {
		for name, h := range map[string]storetest.Harm{"before": storetest.CutBefore, "after": storetest.CutAfter} {
			for _, fresh := range []bool{false, true} {
				if fresh && statement == "BEGIN" {
					continue // see TestNothingBegins
				}
				for size, nos := range map[string][]string{"one": {"only"}, "group": several("of")} {
					t.Run(fmt.Sprintf("%s %s fresh=%v %s", statement, name, fresh, size), func(t *testing.T) {
						for i, no := range nos {
							nos[i] = strings.ReplaceAll(t.Name(), "/", " ") + " " + no
						}
						b.T = t
						if fresh {
							p.Cut() // the connection is made anew for this group
						} else {
							b.must(db, "warm "+nos[0])
						}
						met := p.HarmNext(statement, h)
						b.must(db, nos...)
						select {
						case <-met:
						default:
							t.Error("nothing was cut")
						}
						b.check()
						before := b.again.Load()
						b.must(db, nos...)
						if again, want := b.again.Load()-before, int64(len(nos)-countFails(nos)); again != want {
							t.Errorf("%d units found that they had acted, want %d", again, want)
						}
						b.check()
					})
				}
			}
		}
	}
}

// TestNothingBegins: where not even a new connection lasts until the group has begun, its units certainly have not acted.
func TestNothingBegins(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	p, through := storetest.StartProxy(t, database)
	b := newBooks(t, open(t, through), database)
	for name, h := range map[string]storetest.Harm{"before": storetest.CutBefore, "after": storetest.CutAfter} {
		db := open(t, through) // it has nothing that it could judge ahead
		p.HarmNext("BEGIN", h)
		for i, err := range b.do(db, several(name)...) {
			if !errors.Is(err, ErrDatabase) || !errors.Is(err, ErrAbsent) || errors.Is(err, ErrUnknown) {
				t.Errorf("unit %d: %v", i, err)
			}
		}
		b.check()
		b.must(db, several(name)...)
		b.check()
	}
}

func countFails(nos []string) (n int) {
	for _, no := range nos {
		if strings.HasSuffix(no, "fails") {
			n++
		}
	}
	return n
}

// later runs do and tells when it has returned.
func (b *books) later(db *DB, nos ...string) <-chan []error {
	told := make(chan []error, 1)
	go func() { told <- b.do(db, nos...) }()
	return told
}

// notYet fails the test when an answer is there already, or comes within a while.
func notYet(t *testing.T, told <-chan []error, while time.Duration) {
	t.Helper()
	select {
	case errs := <-told:
		t.Fatalf("answered too early: %v", errs)
	case <-time.After(while):
	}
}

// TestNothingGetsThrough: while the network hangs the callers wait, and what they asked for happens once when it goes on.
func TestNothingGetsThrough(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	p, through := storetest.StartProxy(t, database)
	db := open(t, through)
	b := newBooks(t, db, database)
	for _, statement := range []string{"BEGIN", "COMMIT"} {
		met := p.HarmNext(statement, storetest.Hang)
		told := b.later(db, several(statement)...)
		<-met
		notYet(t, told, time.Second)
		p.Resume()
		<-told
		b.must(db, several(statement)...)
		b.check()
	}
}

// TestOutcomeStaysUnknown: where it cannot be found out what became of a commit, those who asked are told so, also those who
// wait behind it; who asks again finds out.
func TestOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]storetest.Harm{"lost": storetest.CutBefore, "committed": storetest.CutAfter} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := storetest.Postgres.New(t)
			p, through := storetest.StartProxy(t, database)
			db := open(t, through)
			db.lookUpMost = time.Second
			b := newBooks(t, db, database)
			p.Refuse(true) // the connection that it has is the last
			p.HarmNext("COMMIT", h)
			told := b.later(db, "first", "refused")
			for _, err := range <-told {
				if !errors.Is(err, ErrUnknown) {
					t.Errorf("told %v", err)
				}
			}
			if err := b.do(db, "next")[0]; !errors.Is(err, ErrDatabase) || !errors.Is(err, ErrAbsent) || errors.Is(err, ErrUnknown) {
				t.Errorf("the next unit: %v", err)
			}
			if err := db.Ready(t.Context()); !errors.Is(err, ErrAbsent) {
				t.Errorf("without a database it is ready: %v", err)
			}
			b.check("first", "refused")
			p.Refuse(false)
			until(t, "the database to be ready", func() bool { return db.Ready(t.Context()) == nil })
			b.must(db, "first", "refused", "next")
			if got, want := b.again.Load(), map[storetest.Harm]int64{storetest.CutBefore: 0, storetest.CutAfter: 2}[h]; got != want {
				t.Errorf("%d units found that they had acted, want %d", got, want)
			}
			b.check()
		})
	}
}

// TestServerRestarts: a server that was restarted between calls costs none of them.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	c := storetest.Start(t, nil)
	db := open(t, c.URL("postgres"))
	b := newBooks(t, db, c.URL("postgres"))
	readers := func() {
		t.Helper()
		var all, reading sync.WaitGroup
		reading.Add(readersMost)
		for range readersMost {
			all.Go(func() {
				if err := db.Read(t.Context(), func(q *pgdb.Queries) error {
					reading.Done()
					reading.Wait() // so that each has a connection of its own
					_, err := q.GetApp(t.Context(), "demo")
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	for i, restart := range []func(){c.Restart, func() { c.Kill(); c.Restart() }} {
		readers()
		b.must(db, fmt.Sprint("before-", i))
		restart()
		readers()
		b.must(db, several(fmt.Sprint(i))...)
		restart()
		if err := db.Do(t.Context(), Unit{Alone: func(ctx context.Context, v *View, q *pgdb.Queries) error {
			return q.PutSecret(ctx, pgdb.PutSecretParams{Name: "kind", Value: []byte{}})
		}}); err != nil {
			t.Error(err)
		}
		claim, ok, err := db.Claim(t.Context(), "name")
		if !ok || err != nil || !claim.Held(t.Context()) {
			t.Errorf("a claim: %v %v", ok, err)
		}
		restart()
		if claim.Held(t.Context()) {
			t.Error("the claim has outlived the server")
		}
		claim.Release()
		if claim, ok, err = db.Claim(t.Context(), "name"); !ok || err != nil {
			t.Errorf("the claim after a restart: %v %v", ok, err)
		}
		claim.Release()
		if err := db.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	}
	b.side.Exec("SELECT 1") //nolint:errcheck // its connections are from before
	b.check()
}

// TestServerDiesDuringUnits: the server is killed again and again while callers repeat what they were not told to stand.
func TestServerDiesDuringUnits(t *testing.T) {
	t.Parallel()
	c := storetest.Start(t, nil)
	db := open(t, c.URL("postgres"))
	b := newBooks(t, db, c.URL("postgres"))
	stop := make(chan struct{})
	var callers sync.WaitGroup
	var stood atomic.Int64
	for caller := range 8 {
		callers.Go(func() {
			for n := 0; ; n++ {
				no := fmt.Sprintf("%d-%d-%s", caller, n, []string{"", "refused"}[n%2])
				for err := errors.New("not asked for"); err != nil; {
					if err = b.do(db, no)[0]; err != nil && !errors.Is(err, ErrDatabase) && !errors.Is(err, ErrUnknown) {
						t.Errorf("%s: %v", no, err)
						return
					}
				}
				stood.Add(1)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i, restart := range []func(){c.Restart, func() { c.Kill(); c.Restart() }, func() { c.Kill(); c.Restart() }} {
		had := stood.Load()
		until(t, "units to stand", func() bool { return stood.Load() > had+20 })
		restart()
		if i == 2 {
			close(stop)
		}
	}
	callers.Wait()
	b.check()
}

// TestServerStandsStill: while the server's processes are stopped the callers wait; nothing happens twice afterwards.
func TestServerStandsStill(t *testing.T) {
	t.Parallel()
	c := storetest.Start(t, nil)
	db := open(t, c.URL("postgres"))
	b := newBooks(t, db, c.URL("postgres"))
	c.Pause()
	told := b.later(db, several("while")...)
	notYet(t, told, 4*time.Second)
	c.Resume()
	<-told
	b.must(db, several("while")...)
	b.check()
}

// waiter returns the backend that waits for the standby, and since when.
func (b *books) waiter(unlike string) (pid int, since string) {
	b.Helper()
	until(b.T, "a commit to wait for the standby", func() bool {
		rows, err := b.side.QueryContext(b.Context(), "SELECT pid, pid || ' ' || query_start FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		if err != nil {
			b.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(&pid, &since); err != nil {
				b.Fatal(err)
			}
		}
		return since != "" && since != unlike
	})
	return pid, since
}

// TestStandbyIsGone: no answer leaves before the standby has what it tells of, whatever the waiting backend goes through.
func TestStandbyIsGone(t *testing.T) {
	t.Parallel()
	primary := storetest.Start(t, nil)
	standby := primary.Standby(t)
	p, through := storetest.StartProxy(t, primary.URL("postgres"))
	db := open(t, through)
	b := newBooks(t, db, primary.URL("postgres"))
	act := func() error { // of an operator: it belongs to no app whose lock would wait
		return db.Do(t.Context(), Unit{Name: "audit", Keys: Keys{Audits: []string{"A"}}, Judge: func(v *View) error {
			if _, ok := v.Audits.Get("A"); !ok {
				v.Audits.Put("A", pgdb.Audit{ID: v.NextID(), Reference: "A", ContentHash: []byte{}})
			}
			return nil
		}})
	}
	ask := map[string]func() <-chan []error{
		"one":   func() <-chan []error { return b.later(db, "one") },
		"group": func() <-chan []error { return b.later(db, several("group")...) },
		"audit": func() <-chan []error {
			told := make(chan []error, 1)
			go func() { told <- []error{act()} }()
			return told
		},
	}
	for _, name := range []string{"one", "group", "audit"} {
		standby.Stop()
		told := ask[name]()
		pid, since := b.waiter("")
		for _, end := range []string{"pg_cancel_backend", "pg_terminate_backend", "", "pg_cancel_backend"} {
			notYet(t, told, 0)
			if end == "" {
				p.Cut() // the driver has the server give up waiting
			} else {
				var ok bool
				b.see(fmt.Sprintf("SELECT %s(%d)", end, pid), &ok)
			}
			pid, since = b.waiter(since) // it has looked up what became of it, and waits that this be so on the standby too
		}
		notYet(t, told, 500*time.Millisecond)
		standby.Restart()
		for i, err := range <-told {
			if err != nil && (name != "group" || i != 3) {
				t.Errorf("%s: unit %d: %v", name, i, err)
			}
		}
		b.check()
	}
	var acts int
	if b.see("SELECT count(*) FROM audit", &acts); acts != 1 {
		t.Errorf("%d acts", acts)
	}
}

// TestStandbyStaysAway: callers are not kept for ever, and are not told that anything stands.
func TestStandbyStaysAway(t *testing.T) {
	t.Parallel()
	primary := storetest.Start(t, nil)
	standby := primary.Standby(t)
	db := open(t, primary.URL("postgres"))
	db.patience = 3 * time.Second
	b := newBooks(t, db, primary.URL("postgres"))
	standby.Stop()
	begun := b.later(db, "begun")
	b.waiter("")
	if err := b.do(db, "waiting")[0]; !errors.Is(err, ErrBusy) {
		t.Errorf("who waits behind it is told %v", err)
	}
	if err := (<-begun)[0]; !errors.Is(err, ErrUnknown) {
		t.Errorf("who waits for the commit is told %v", err)
	}
	until(t, "the node to be not ready", func() bool { return db.Ready(t.Context()) != nil })
	standby.Restart()
	until(t, "the node to be ready again", func() bool { return db.Ready(t.Context()) == nil })
	b.must(db, "begun", "waiting")
	if b.again.Load() != 1 {
		t.Error("the unit that had begun does not stand")
	}
	b.check()
}

// TestReadOnly: a server that takes no changes is told apart at once, and so is the end of that.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	c := storetest.Start(t, nil)
	db := open(t, c.URL("postgres"))
	b := newBooks(t, db, c.URL("postgres"))
	for _, kind := range []string{"group", "alone"} {
		c.Exec("ALTER SYSTEM SET default_transaction_read_only = on")
		c.Exec("SELECT pg_reload_conf()")
		until(t, "the setting", func() bool {
			var set string
			b.see("SHOW default_transaction_read_only", &set)
			return set == "on"
		})
		if kind == "group" {
			for i, err := range b.do(db, several("read-only")...) {
				if !errors.Is(err, ErrDatabase) || !errors.Is(err, ErrAbsent) || errors.Is(err, ErrUnknown) {
					t.Errorf("unit %d: %v", i, err)
				}
			}
		} else if err := db.Do(t.Context(), Unit{Alone: func(ctx context.Context, v *View, q *pgdb.Queries) error {
			return q.PutSecret(ctx, pgdb.PutSecretParams{Name: "kind", Value: []byte{}})
		}}); !errors.Is(err, ErrAbsent) {
			t.Error(err)
		}
		if db.Ready(t.Context()) == nil {
			t.Error("ready, though it takes no changes")
		}
		b.check()
		c.Exec("ALTER SYSTEM RESET default_transaction_read_only")
		c.Exec("SELECT pg_reload_conf()")
		until(t, "the node to be ready again", func() bool { return db.Ready(t.Context()) == nil })
		b.must(db, several("read-write "+kind)...)
		b.check()
	}
	if _, err := Open(t.Context(), Config{Database: c.Standby(t).URL("postgres")}); err == nil {
		t.Error("a standby alone was taken for a database")
	}
}
