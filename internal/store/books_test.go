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

func newSide(t *testing.T, database string) *sql.DB {
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
	return side
}

// newBooks makes the app and its accounts by way of db.
func newBooks(t *testing.T, db *DB, database string) *books {
	t.Helper()
	side := newSide(t, database)
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
	id, beforeFrom, beforeTo := v.NextID(), from.LastPostingID, to.LastPostingID
	from.Balance, from.LastNo, from.LastPostingID = from.Balance-amount, from.LastNo+1, id
	to.Balance, to.LastNo, to.LastPostingID = to.Balance+amount, to.LastNo+1, id
	v.Accounts.Put(external, from)
	v.Accounts.Put(platform, to)
	v.Post(pgdb.Posting{ID: id, Amount: amount, FromID: from.ID, FromNo: from.LastNo, FromBalance: from.Balance, FromBeforeID: beforeFrom,
		ToID: to.ID, ToNo: to.LastNo, ToBalance: to.Balance, ToBeforeID: beforeTo})
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

func several(prefix string) (nos []string) {
	for i, kind := range []string{"", "refused", "", "fails", "", "refused"} {
		nos = append(nos, fmt.Sprintf("%s-%d-%s", prefix, i, kind))
	}
	return nos
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
