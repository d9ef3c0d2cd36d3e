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

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// TestGroupIsGroupsOfOne holds the same random requests in folded groups against one commit each: the answers and every
// row that is left must be the same.
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
				if rapid.IntRange(0, 5).Draw(rt, "kind") == 0 {
					members = bindingOf(number, seller, currency)
					members["sellerCertNo"] = rapid.SampledFrom([]string{"CERT-" + seller, "OTHER"}).Draw(rt, "cert")
				}
				content := Content{}
				for k, v := range members {
					content[k] = &v
				}
				group = append(group, content)
			}
			steps = append(steps, group)
		}
		settleAfter := rapid.IntRange(0, 3).Draw(rt, "settle after group")
		dir := t.TempDir()
		folded := play(t, filepath.Join(dir, "folded.db"), steps, settleAfter, true)
		single := play(t, filepath.Join(dir, "single.db"), steps, settleAfter, false)
		if diff := cmp.Diff(single, folded); diff != "" {
			rt.Fatalf("groups of one against folded groups:\n%s", diff)
		}
	})
}

// play runs the steps on a fresh database whose time and randomness are always the same, and returns the answers and rows.
func play(t *testing.T, path string, steps [][]Content, settleAfter int, fold bool) []string {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	var seed [32]byte
	db, err := store.Open(ctx, store.Config{Path: path, Clock: store.NewClock(func() time.Time { return now }), Random: rand.NewChaCha8(seed)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(ctx, db, "http://127.0.0.1", false)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, e: e, now: now}
	settings, err := json.Marshal(store.Settings{LimitPerSellerDay: map[string]string{"CNH": "60"}})
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
	for i, group := range steps {
		preps := make([]prepared, len(group))
		units := make([]store.Unit, len(group))
		for j, content := range group {
			o := All[0]
			if _, ok := content["amount"]; ok {
				o = All[5]
			}
			if preps[j], err = o.prepare(e, testApp, content); err != nil {
				t.Fatal(err)
			}
			units[j] = preps[j].unit
		}
		var errs []error
		if fold {
			errs = db.DoAll(ctx, units)
		} else {
			for _, u := range units {
				errs = append(errs, db.Do(ctx, u))
			}
		}
		for j, p := range preps {
			rep, refusal := p.outcome()
			out = append(out, fmt.Sprintf("%v %+v %v", errs[j], rep, refusal))
		}
		if i == settleAfter {
			r.settle()
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
