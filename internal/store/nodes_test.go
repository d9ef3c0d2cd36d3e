//go:build linux

package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// meeting lets two goroutines go on when both have come, the first time.
type meeting struct {
	once [2]sync.Once
	all  sync.WaitGroup
}

func newMeeting() *meeting {
	m := &meeting{}
	m.all.Add(2)
	return m
}

func (m *meeting) come(who int) {
	m.once[who].Do(m.all.Done)
	m.all.Wait()
}

// both runs fn for two nodes at once.
func both(t *testing.T, nodes []*DB, fn func(who int, db *DB) error) {
	t.Helper()
	var all sync.WaitGroup
	for who, db := range nodes {
		all.Go(func() {
			if err := fn(who, db); err != nil {
				t.Errorf("node %d: %v", who, err)
			}
		})
	}
	all.Wait()
}

// TestNodesAskForTheSame: the same numbers, new to both nodes, in different groups at once.
func TestNodesAskForTheSame(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	nodes := []*DB{open(t, database), open(t, database)}
	b := newBooks(t, nodes[0], database)
	for n := range 30 {
		both(t, nodes, func(who int, db *DB) error {
			b.must(db, fmt.Sprint(n), fmt.Sprintf("%d of %d", n, who), fmt.Sprintf("%d-refused", n), fmt.Sprintf("%d-fails", n))
			return nil
		})
	}
	b.check()
	if b.again.Load() != 60 {
		t.Errorf("%d units found that they had acted, want 60", b.again.Load())
	}
}

// TestNodesCollide: what no app's lock keeps apart. Both nodes have judged before either commits; one of them finds out when
// it writes, and then sees what the other has left.
func TestNodesCollide(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	nodes := []*DB{open(t, database), open(t, database)}
	for _, kind := range []string{"audit", "deposit", "queries"} {
		t.Run(kind, func(t *testing.T) {
			m := newMeeting()
			var saw [2]bool
			both(t, nodes, func(who int, db *DB) error {
				deposit := DepositKey{"CNH", "BANK-1"}
				u := Unit{Name: kind, Keys: Keys{Apps: []string{fmt.Sprint("app-", who)}, Audits: []string{"A"}, Deposits: []DepositKey{deposit}}}
				u.Judge = func(v *View) error {
					switch kind {
					case "audit":
						if _, saw[who] = v.Audits.Get("A"); !saw[who] {
							v.Audits.Put("A", pgdb.Audit{ID: v.NextID(), Reference: "A", ContentHash: []byte{}})
						}
					case "deposit":
						if _, saw[who] = v.Deposits.Get(deposit); !saw[who] {
							v.Deposits.Put(deposit, pgdb.Deposit{ID: v.NextID(), Currency: deposit.Currency, BankReference: deposit.BankReference})
						}
					}
					m.come(who)
					return nil
				}
				if kind == "queries" {
					u.Judge, u.Alone = nil, func(ctx context.Context, v *View, q *pgdb.Queries) error {
						_, err := q.GetApp(ctx, "made by both")
						saw[who] = err == nil
						if m.come(who); err == nil || !NotFound(err) {
							return err
						}
						return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "made by both"})
					}
				}
				group := []Unit{u}
				if u.Alone == nil {
					group = append(group, Unit{Keys: keysOf(fmt.Sprint(kind, who)), Judge: putSeller(fmt.Sprint(kind, who))}) // others are not harmed
				}
				return errors.Join(db.DoAll(t.Context(), group)...)
			})
			if saw[0] == saw[1] {
				t.Errorf("the nodes saw the row: %v", saw)
			}
		})
	}
	if n := len(sellers(t, nodes[0])); n != 4 {
		t.Errorf("%d units beside those that collided stand, want 4", n)
	}
}

// TestJudgedAhead: a node that has everything judges before it asks the database. It is found out when another node was at
// work, or when a number is not new, and nothing acts twice.
func TestJudgedAhead(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	nodes := []*DB{open(t, database), open(t, database)}
	b := newBooks(t, nodes[0], database)
	for i, step := range []struct {
		node  int
		nos   []string
		ahead bool
	}{
		{0, []string{"a"}, false}, // the books were written by queries beside the view
		{0, []string{"b"}, true},
		{0, several("c"), true},
		{1, []string{"d"}, false},
		{0, []string{"e"}, false}, // the other node was there
	} {
		b.must(nodes[step.node], step.nos...)
		b.check()
		if is := nodes[step.node].engine.(*postgres).ahead; is != step.ahead {
			t.Errorf("step %d: judged ahead: %v", i, is)
		}
	}
	p := nodes[0].engine.(*postgres)
	for n := range 2 {
		for p.wary > 0 { // a group that was found out makes the next ones load
			b.must(nodes[0], fmt.Sprint(n, " after ", p.wary))
		}
		b.must(nodes[0], fmt.Sprint(n))
		if !p.ahead {
			t.Error("it never judges ahead again")
		}
		before := b.again.Load()
		b.must(nodes[0], "b", fmt.Sprint(n, " beside it"), "d") // both are not new
		if again := b.again.Load() - before; again != 2 || p.ahead || p.wary == 0 {
			t.Errorf("%d units found that they had acted; judged ahead: %v", again, p.ahead)
		}
		b.check()
	}
	if err := nodes[1].Do(t.Context(), Unit{Keys: Keys{Apps: []string{"demo"}}, Alone: func(ctx context.Context, _ *View, q *pgdb.Queries) error {
		return q.UpdateApp(ctx, pgdb.UpdateAppParams{AppID: "demo", Disabled: 1})
	}}); err != nil {
		t.Fatal(err)
	}
	p.wary = 0
	var seen int64
	if err := nodes[0].Do(t.Context(), Unit{Keys: Keys{Apps: []string{"demo"}, Accounts: []AccountKey{platform}}, Judge: func(v *View) error {
		app, _ := v.Apps.Get("demo")
		seen = app.Disabled
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	if seen != 1 {
		t.Error("what another node has changed was not seen")
	}
}

// TestNodesDeadlock: queries of two units that lock the same rows the other way round are run again.
func TestNodesDeadlock(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	nodes := []*DB{open(t, database), open(t, database)}
	names := []string{"one", "two"}
	for _, name := range names {
		if _, err := nodes[0].Mark(t.Context(), name, "x"); err != nil {
			t.Fatal(err)
		}
	}
	m := newMeeting()
	both(t, nodes, func(who int, db *DB) error {
		return db.Do(t.Context(), Unit{Alone: func(ctx context.Context, _ *View, q *pgdb.Queries) error {
			if err := q.PutSecret(ctx, pgdb.PutSecretParams{Name: names[who], Value: []byte{}}); err != nil {
				return err
			}
			m.come(who)
			return q.PutSecret(ctx, pgdb.PutSecretParams{Name: names[1-who], Value: []byte{}})
		}})
	})
}

// TestNodeDiesWithALock: what a node held that the server no longer hears of, or has thrown out, is free for the others.
func TestNodeDiesWithALock(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	p, through := storetest.StartProxy(t, database)
	dying, living := open(t, through), open(t, database)
	b := newBooks(t, living, database)
	for how, kill := range map[string]func(){
		"cut": p.Cut,
		"terminated": func() {
			var ended int
			b.see(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' AND backend_xid IS NOT NULL`, &ended)
			if ended != 1 {
				t.Errorf("%d backends had a transaction open", ended)
			}
		},
	} {
		holding, dead := make(chan struct{}), make(chan struct{})
		told := make(chan error, 1)
		go func() {
			told <- dying.Do(t.Context(), Unit{Keys: Keys{Apps: []string{"demo"}}, Alone: func(ctx context.Context, v *View, q *pgdb.Queries) error {
				close(holding)
				<-dead
				return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "of the dead"})
			}})
		}()
		<-holding
		waiting := b.later(living, several(how)...)
		storetest.Until(t, "the other node to wait", func() bool {
			var n int
			b.see(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`, &n)
			return n == 1
		})
		kill()
		<-waiting
		b.must(living, several(how)...)
		close(dead)
		if err := <-told; !errors.Is(err, ErrDatabase) || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: the dead node's unit: %v", how, err)
		}
		var apps int
		if b.see("SELECT count(*) FROM app WHERE app_id = 'of the dead'", &apps); apps != 0 {
			t.Errorf("%s: the dead node's unit stands", how)
		}
		b.must(dying, "the dead node lives on after it was "+how)
	}
	b.check()
}
