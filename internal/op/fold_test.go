package op

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestGroupIsGroupsOfOne holds the same random requests, settlements and freezes in folded groups against one commit each:
// the answers and every row that is left must be the same, on either engine.
func TestGroupIsGroupsOfOne(t *testing.T) {
	var engines []storetest.Engine
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		engine.New(t) // or it is skipped
		engines = append(engines, engine)
	})
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // three databases a check: fewer than usual, unless asked for
		if err := f.Value.Set("6"); err != nil {
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
		single := play(t, storetest.SQLite, steps, false)
		for _, engine := range engines {
			if diff := cmp.Diff(single, play(t, engine, steps, true)); diff != "" {
				rt.Fatalf("groups of one on SQLite against folded groups on %s:\n%s", engine, diff)
			}
		}
	})
}

// What a step does that is no request.
const (
	freeze     = "freeze"      // a seller, or resume it
	settleNext = "settle next" // the oldest share that waits and that no other step of the group settles
)

// play runs the steps on a fresh database whose time and randomness are always the same, and returns the answers and rows.
func play(t *testing.T, engine storetest.Engine, steps [][]Content, fold bool) (out []string) {
	t.Run("", func(t *testing.T) { out = playOn(t, engine.New(t), steps, fold) }) // its database is gone when it ends
	return out
}

func playOn(t *testing.T, database string, steps [][]Content, fold bool) []string {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	var seed [32]byte
	db, err := store.Open(ctx, store.Config{Database: database, Clock: store.NewClock(func() time.Time { return now }), Random: rand.NewChaCha8(seed)})
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
	return append(out, dump(t, database)...)
}

// dump is every row of a database as text. An id stands for its place among all ids: the engines draw different ones.
func dump(t *testing.T, database string) (out []string) {
	t.Helper()
	type row struct {
		table   string
		columns []string
		values  []any
	}
	var rows []row
	ids := []int64{0}
	for _, name := range []string{"request", "deposit", "trade_file", "seller", "binding", "account", "posting", "share", "task", "delivery", "audit"} {
		columns, found := table(t, database, "SELECT * FROM "+name+" ORDER BY id")
		for _, values := range found {
			rows = append(rows, row{name, columns, values})
			ids = append(ids, values[0].(int64))
		}
	}
	slices.Sort(ids)
	for _, r := range rows {
		var b strings.Builder
		b.WriteString(r.table)
		for i, v := range r.values {
			if id, ok := v.(int64); ok && (r.columns[i] == "id" || strings.HasSuffix(r.columns[i], "_id")) {
				if place, known := slices.BinarySearch(ids, id); known {
					v = fmt.Sprint("#", place)
				}
			}
			fmt.Fprintf(&b, " %s=%v", r.columns[i], v)
		}
		out = append(out, b.String())
	}
	return out
}

func table(t *testing.T, database, text string) (columns []string, found [][]any) {
	t.Helper()
	if store.IsPostgres(database) {
		conn, err := pgx.Connect(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		rows, err := conn.Query(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range rows.FieldDescriptions() {
			columns = append(columns, f.Name)
		}
		found, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) ([]any, error) { return r.Values() })
		if err != nil {
			t.Fatal(err)
		}
		return columns, found
	}
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if columns, err = rows.Columns(); err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		found = append(found, values)
	}
	return columns, found
}
