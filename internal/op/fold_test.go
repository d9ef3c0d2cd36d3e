package op

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// TestGroupIsGroupsOfOne holds the same random requests, settlements and freezes in folded groups against one commit each:
// the answers and every row that is left must be the same.
func TestGroupIsGroupsOfOne(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // two databases a check: fewer than usual, unless asked for
		if err := f.Value.Set("20"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		sellers, currencies := []string{"A", "B", "C"}, []string{"CNH", "JPY"}
		var steps [][]Content
		for range rapid.IntRange(1, 4).Draw(rt, "groups") {
			var group []Content
			for range rapid.IntRange(1, 40).Draw(rt, "requests") {
				seller, currency := rapid.SampledFrom(sellers).Draw(rt, "seller"), rapid.SampledFrom(currencies).Draw(rt, "currency")
				number := fmt.Sprintf("R-%d", rapid.IntRange(1, 30).Draw(rt, "requestNo"))
				members := shareOf(number, seller, currency, fmt.Sprint(rapid.IntRange(1, 40).Draw(rt, "amount")))
				switch rapid.IntRange(0, 9).Draw(rt, "kind") {
				case 0, 1:
					members = bindingOf(number, seller, currency)
					members["sellerCertNo"] = rapid.SampledFrom([]string{"CERT-" + seller, "OTHER"}).Draw(rt, "cert")
				case 2:
					members = map[string]string{freeze: seller, "to": rapid.SampledFrom([]string{"ACTIVE", "FROZEN"}).Draw(rt, "status")}
				case 3, 4, 5:
					members = map[string]string{settleNext: ""}
				}
				content := Content{}
				for k, v := range members {
					content[k] = &v
				}
				group = append(group, content)
			}
			steps = append(steps, group)
		}
		dir := t.TempDir()
		folded := play(t, filepath.Join(dir, "folded.db"), steps, true)
		single := play(t, filepath.Join(dir, "single.db"), steps, false)
		if diff := cmp.Diff(single, folded); diff != "" {
			rt.Fatalf("groups of one against folded groups:\n%s", diff)
		}
	})
}

// What a step does that is no request.
const (
	freeze     = "freeze"      // a seller, or resume it
	settleNext = "settle next" // the oldest share that waits and that no other step of the group settles
)

// play runs the steps on a fresh database whose time and randomness are always the same, and returns the answers and rows.
func play(t *testing.T, path string, steps [][]Content, fold bool) []string {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	var seed [32]byte
	db, err := store.Open(ctx, store.Config{Database: path, Clock: store.NewClock(func() time.Time { return now }), Random: rand.NewChaCha8(seed)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(ctx, db, "http://127.0.0.1", false)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, e: e, now: now}
	settings, err := json.Marshal(store.Settings{LimitPerSellerDay: map[string]string{"CNH": "60"}, CallbackURL: "http://127.0.0.1", Events: []string{"share", "binding"}})
	if err != nil {
		t.Fatal(err)
	}
	r.do(store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: testApp, Settings: string(settings)})
	}})
	for _, s := range []string{"A", "B"} {
		for _, c := range []string{"CNH", "JPY"} {
			r.bind(s, c)
			r.file(s, c, 90, 5000)
		}
	}
	r.deposit("CNH", 100_00)
	r.deposit("JPY", 100)

	var out []string
	for _, group := range steps {
		var waiting []pgdb.Task
		var shares []pgdb.Share
		if err := db.Read(ctx, func(q *pgdb.Queries) (err error) {
			if waiting, err = q.ListDueTasks(ctx, pgdb.ListDueTasksParams{Queue: SettleQueue, Now: 1 << 60, Most: 1000}); err != nil {
				return err
			}
			for _, t := range waiting {
				s, err := q.GetShare(ctx, t.RecordID)
				if err != nil {
					return err
				}
				shares = append(shares, s)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var units []store.Unit
		var outcomes []func() (any, error)
		for _, content := range group {
			p := prepared{outcome: func() (any, error) { return nil, nil }}
			_, isFreeze := content[freeze]
			_, isSettle := content[settleNext]
			switch {
			case isFreeze:
				k := store.SellerKey{AppID: testApp, SellerID: *content[freeze]}
				p.unit = store.Unit{Keys: store.Keys{Apps: []string{testApp}, Sellers: []store.SellerKey{k}, Events: []store.SellerKey{k}},
					Judge: func(v *store.View) error { return SetSellerStatus(v, k, infinia.SellerStatus(*content["to"])) }}
			case isSettle && len(waiting) == 0:
				continue
			case isSettle:
				p.unit = settlement(waiting[0], shares[0])
				waiting, shares = waiting[1:], shares[1:]
			case content["amount"] != nil:
				p, err = All[5].prepare(e, testApp, content)
			default:
				p, err = All[0].prepare(e, testApp, content)
			}
			if err != nil {
				t.Fatal(err)
			}
			units, outcomes = append(units, p.unit), append(outcomes, p.outcome)
		}
		var errs []error
		if fold {
			errs = db.DoAll(ctx, units)
		} else {
			for _, u := range units {
				errs = append(errs, db.Do(ctx, u))
			}
		}
		for i, outcome := range outcomes {
			rep, refusal := outcome()
			out = append(out, fmt.Sprintf("%v %+v %v", errs[i], rep, refusal))
		}
	}
	r.verify()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return append(out, dump(t, path)...)
}

// dump is every row of a database as text.
func dump(t *testing.T, path string) []string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out []string
	for _, table := range []string{"request", "seller", "binding", "account", "posting", "share", "task", "delivery", "audit"} {
		rows, err := db.Query("SELECT * FROM " + table + " ORDER BY id")
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			b.WriteString(table)
			for i, v := range values {
				fmt.Fprintf(&b, " %s=%v", columns[i], *v.(*any))
			}
			out = append(out, b.String())
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
