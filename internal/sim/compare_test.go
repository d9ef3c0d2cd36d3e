package sim

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

// read asks a node's database.
func (s *sim) read(fn func(q *pgdb.Queries) error) {
	s.t.Helper()
	s.must("read", s.nodes[s.step%len(s.nodes)].db.Read(s.ctx, fn))
}

// compareTouched holds what the step has touched against the model.
func (s *sim) compareTouched() {
	m := s.m
	if len(m.touchedShares)+len(m.touchedBindings)+len(m.touchedDeliveries)+len(m.touchedPurses) == 0 {
		return
	}
	s.read(func(q *pgdb.Queries) error {
		for _, x := range m.touchedShares {
			s.compareShare(q, x)
		}
		for _, b := range m.touchedBindings {
			s.compareBinding(q, b)
		}
		s.nameDeliveries(q)
		for _, d := range m.touchedDeliveries {
			row, err := q.GetDelivery(s.ctx, d.id)
			s.must("delivery", err)
			s.sameDelivery(d, row)
		}
		slices.SortFunc(m.touchedPurses, func(a, b touched) int {
			return strings.Compare(a.app.name+" "+a.seller+" "+a.currency, b.app.name+" "+b.seller+" "+b.currency)
		})
		for _, p := range slices.Compact(m.touchedPurses) {
			s.comparePurse(q, p.app, "", p.currency)
			if p.seller != "" {
				s.comparePurse(q, p.app, p.seller, p.currency)
			}
		}
		return nil
	})
	m.touchedShares, m.touchedBindings, m.touchedDeliveries, m.touchedPurses = m.touchedShares[:0], m.touchedBindings[:0], m.touchedDeliveries[:0], m.touchedPurses[:0]
}

// record is what the engine calls the record that a request made.
func (s *sim) record(q *pgdb.Queries, a *modelApp, op, number string) int64 {
	r, err := q.GetRequest(s.ctx, pgdb.GetRequestParams{AppID: a.name, Operation: op, RequestNo: number})
	s.must("request "+number, err)
	return r.RecordID
}

func (s *sim) compareShare(q *pgdb.Queries, x *modelShare) {
	if x.id == 0 {
		x.id = s.record(q, x.app, shareOp, x.requestNo)
		if s.shares[x.id] != nil {
			s.fail("share %s is share %d, which is that of %s", x.requestNo, x.id, s.shares[x.id].requestNo)
		}
		s.shares[x.id] = x
	}
	row, err := q.GetShare(s.ctx, x.id)
	s.must("share "+x.requestNo, err)
	s.sameShare(x, row)
}

func (s *sim) sameShare(x *modelShare, row pgdb.Share) {
	is := fmt.Sprint(row.AppID, row.RequestNo, row.SellerID, row.Currency, row.Amount, row.State, row.FailCode, row.BindingID, row.FinishedAt)
	want := fmt.Sprint(x.app.name, x.requestNo, x.seller, x.currency, x.amount, x.state, x.failCode, x.binding.id, x.finished)
	s.same("share "+x.requestNo, is, want)
}

func (s *sim) compareBinding(q *pgdb.Queries, b *modelBinding) {
	if b.id == 0 {
		b.id = s.record(q, b.app, bindingOp, b.requestNo)
	}
	row, err := q.GetBinding(s.ctx, b.id)
	s.must("binding "+b.requestNo, err)
	s.sameBinding(b, row)
	seller, err := q.GetSeller(s.ctx, pgdb.GetSellerParams{AppID: b.app.name, SellerID: b.seller})
	s.must("seller "+b.seller, err)
	s.same("status of "+b.seller, seller.Status, b.app.seller(b.seller).status)
}

func (s *sim) sameBinding(b *modelBinding, row pgdb.Binding) {
	is := fmt.Sprint(row.AppID, row.RequestNo, row.SellerID, row.Currency, row.SellerCertNo, row.State, row.BoundAt > 0, row.LinkExpiresAt == 0, row.ConfirmBy)
	want := fmt.Sprint(b.app.name, b.requestNo, b.seller, b.currency, b.cert, b.state, b.once, b.linkDead, b.confirmBy)
	s.same("binding "+b.requestNo, is, want)
	if b.state == "AWAITING_SELLER" {
		s.same("link of "+b.requestNo, row.LinkExpiresAt, b.linkUntil)
	}
}

// nameDeliveries finds the ids of new webhooks: the newest that have none, oldest first.
func (s *sim) nameDeliveries(q *pgdb.Queries) {
	for _, a := range s.m.apps {
		var fresh []*modelDelivery
		for _, d := range s.m.touchedDeliveries {
			if d.app == a && d.id == 0 && !slices.Contains(fresh, d) {
				fresh = append(fresh, d)
			}
		}
		if len(fresh) == 0 {
			continue
		}
		slices.SortFunc(fresh, func(x, y *modelDelivery) int { return x.number - y.number })
		rows, err := q.PageDeliveries(s.ctx, pgdb.PageDeliveriesParams{AppID: a.name, Before: math.MaxInt64, Most: int32(len(fresh) + 50)})
		s.must("deliveries", err)
		slices.Reverse(rows)
		for _, d := range fresh {
			i := slices.IndexFunc(rows, func(r pgdb.Delivery) bool {
				return s.deliveries[r.ID] == nil && r.Event == d.event && r.SellerID == d.seller
			})
			if i < 0 {
				s.fail("%s of %s: no webhook was left", d.event, d.seller)
			}
			d.id = rows[i].ID
			s.deliveries[d.id] = d
		}
	}
}

func (s *sim) sameDelivery(d *modelDelivery, row pgdb.Delivery) {
	is := fmt.Sprint(row.AppID, row.SellerID, row.Event, row.State, row.Attempts, row.DueAt)
	want := fmt.Sprint(d.app.name, d.seller, d.event, d.state, d.attempts, d.dueAt)
	s.same(fmt.Sprintf("webhook %d", d.id), is, want)
	if d.status != "" && !strings.Contains(row.Content, `"`+d.status+`"`) {
		s.fail("webhook %d says %s, the model says %s", d.id, row.Content, d.status)
	}
}

// accounts are what the model's purses are in the books, by kind.
func (a *modelApp) accounts(seller, currency string) map[string][2]int64 {
	p := a.purse(seller, currency)
	if seller == "" {
		return map[string][2]int64{"platform": {p.balance, p.held}, "external": {-a.paidIn[currency], 0}}
	}
	return map[string][2]int64{"seller": {p.received, 0}, "used": {p.used, p.held}, "filed-shipped": {p.shipped, 0},
		"filed-unshipped": {p.unshipped, 0}, "evidence": {-p.shipped - p.unshipped - p.used, 0}}
}

func (s *sim) comparePurse(q *pgdb.Queries, a *modelApp, seller, currency string) {
	rows, err := q.ListAccountsOf(s.ctx, pgdb.ListAccountsOfParams{AppID: a.name, SellerID: seller, Currency: currency})
	s.must("accounts", err)
	want := a.accounts(seller, currency)
	for _, r := range rows {
		w, ok := want[r.Kind]
		if !ok || w != [2]int64{r.Balance, r.Held} {
			s.fail("account %s %s %s %s: %d with %d held, the model says %v", a.name, r.Kind, seller, currency, r.Balance, r.Held, w)
		}
		delete(want, r.Kind)
	}
	for kind, w := range want {
		if w != [2]int64{} {
			s.fail("account %s %s %s %s does not exist, the model says %v", a.name, kind, seller, currency, w)
		}
	}
}

func (s *sim) compareFile(f *modelFile) {
	s.read(func(q *pgdb.Queries) error {
		row, err := q.NewestTradeFile(s.ctx, pgdb.NewestTradeFileParams{AppID: f.app.name, RequestNo: f.requestNo})
		s.must("file "+f.requestNo, err)
		if f.id == 0 {
			f.id = row.ID
		}
		is := fmt.Sprint(row.ID, row.State, row.Attempt, row.SHA256, row.TotalRows, row.AcceptedRows, row.RejectedRows)
		want := fmt.Sprint(f.id, f.state, f.attempt, f.digest, f.total, f.accepted, f.rejected)
		if is != want {
			text, _ := os.ReadFile(f.path)
			s.fail("file %s is %s, the model says %s:\n%s", f.requestNo, is, want, text)
		}
		return nil
	})
}

// compareAll holds the whole database against the model, and against itself.
func (s *sim) compareAll() {
	s.t.Helper()
	s.read(func(q *pgdb.Queries) error {
		report, err := ledger.Verify(s.ctx, q)
		s.must("verify", err)
		if len(report.Faults) > 0 {
			s.fail("the books are wrong: %s", strings.Join(report.Faults, "\n"))
		}
		rows, requests, shares := 0, 0, 0
		for _, a := range s.m.apps {
			rows, requests, shares = rows+len(a.rows), requests+len(a.requests), shares+len(a.shares)
		}
		s.same("rows filed", report.Rows, int64(rows))
		s.same("requests", report.Requests, int64(requests))
		s.same("shares", report.Shares, int64(shares))
		s.same("postings", report.Postings, s.m.postings)

		byID := map[int64]*modelBinding{}
		for _, a := range s.m.apps {
			for _, b := range a.bindings {
				byID[b.id] = b
			}
			for _, id := range sortedKeys(a.sellers) {
				row, err := q.GetSeller(s.ctx, pgdb.GetSellerParams{AppID: a.name, SellerID: id})
				if !store.NotFound(err) {
					s.must("seller", err)
				}
				s.same("status of "+id, row.Status, a.sellers[id].status)
				for currency := range digits {
					s.comparePurse(q, a, id, currency)
				}
			}
			for currency := range digits {
				s.comparePurse(q, a, "", currency)
			}
		}
		pages(s, func(before int64, most int32) ([]pgdb.Share, error) {
			return q.PageShares(s.ctx, pgdb.PageSharesParams{Before: before, Most: most})
		}, func(r pgdb.Share) int64 { s.sameShare(s.shares[r.ID], r); return r.ID }, shares)
		pages(s, func(before int64, most int32) ([]pgdb.Binding, error) {
			return q.PageBindings(s.ctx, pgdb.PageBindingsParams{Before: before, Most: most})
		}, func(r pgdb.Binding) int64 { s.sameBinding(byID[r.ID], r); return r.ID }, len(byID))
		pages(s, func(before int64, most int32) ([]pgdb.Delivery, error) {
			return q.PageDeliveries(s.ctx, pgdb.PageDeliveriesParams{Before: before, Most: most})
		}, func(r pgdb.Delivery) int64 { s.sameDelivery(s.deliveries[r.ID], r); return r.ID }, len(s.deliveries))
		pages(s, func(before int64, most int32) ([]pgdb.Deposit, error) {
			return q.PageDeposits(s.ctx, pgdb.PageDepositsParams{Before: before, Most: most})
		}, func(r pgdb.Deposit) int64 { return r.ID }, len(s.m.deposits))
		s.compareTasks(q)
		return nil
	})
	for _, a := range s.m.apps {
		s.compareContents(a)
	}
}

// compareContents opens whatever files of an app the database keeps.
func (s *sim) compareContents(a *modelApp) {
	n := s.nodes[s.step%len(s.nodes)]
	errors := map[*modelFile]string{} // the error files' hashes
	for _, f := range a.received {
		var row pgdb.TradeFile
		s.read(func(q *pgdb.Queries) (err error) { row, err = q.GetTradeFile(s.ctx, f.id); return err })
		s.same("state of "+f.requestNo, row.State, f.state)
		upload, err := content.Open(s.ctx, n.db, content.Keys{}, row.ContentID)
		s.must("upload "+f.requestNo, err)
		s.same("upload "+f.requestNo, s.sumOf(upload), f.digest)
		file, err := n.importer.ErrorFile(s.ctx, row)
		if f.rejected == 0 && err != nil {
			s.same("error file of "+f.requestNo, row.ErrorsID, int64(0))
			continue
		}
		s.must("error file of "+f.requestNo, err)
		errors[f] = s.sumOf(file)
	}
	results, err := n.importer.Results(s.ctx, a.name, "", 1<<31-1)
	s.must("results", err)
	names := make([]string, len(results))
	for i, r := range results {
		names[i] = r.Name
	}
	s.same("results of "+a.name, strings.Join(names, " "), strings.Join(sortedKeys(a.results), " "))
	for name, f := range a.results {
		if strings.HasSuffix(name, "_summary.json") {
			s.compareSummary(n, f)
			continue
		}
		_, file, err := n.importer.OpenResult(s.ctx, a.name, name)
		s.must(name, err)
		s.same(name, s.sumOf(file), errors[f])
	}
}

func (s *sim) sumOf(r io.Reader) string {
	sum := sha256.New()
	_, err := io.Copy(sum, r)
	s.must("read a content", err)
	return hex.EncodeToString(sum.Sum(nil))
}

// compareSummary holds what an app finds of a file against the model.
func (s *sim) compareSummary(n *node, f *modelFile) {
	var summary struct {
		Status   string
		Attempt  int64
		Accepted int64 `json:"acceptedRows"`
	}
	_, text, err := n.importer.OpenResult(s.ctx, f.app.name, f.requestNo+"_summary.json")
	s.must("summary", err)
	s.must("summary", json.NewDecoder(text).Decode(&summary))
	s.same("summary of "+f.requestNo, fmt.Sprint(summary), fmt.Sprint(struct {
		Status            string
		Attempt, Accepted int64
	}{f.state, f.attempt, f.accepted}))
}

// pages reads a whole table and counts it.
func pages[R any](s *sim, page func(before int64, most int32) ([]R, error), same func(R) int64, want int) {
	s.t.Helper()
	const most = 5000
	many, before := 0, int64(math.MaxInt64)
	for {
		rows, err := page(before, most)
		s.must("page", err)
		for _, r := range rows {
			before = same(r)
		}
		if many += len(rows); len(rows) < most {
			s.same(fmt.Sprintf("rows of %T", *new(R)), many, want)
			return
		}
	}
}

// compareTasks holds what waits in every queue against the model.
func (s *sim) compareTasks(q *pgdb.Queries) {
	rows, err := q.ListQueues(s.ctx)
	s.must("queues", err)
	queues := sortedKeys(s.m.tasks)
	for _, r := range rows {
		queues = append(queues, r.Queue)
	}
	for _, queue := range queues {
		if queue == content.Queue || queue == trade.RunQueue { // what is no longer needed, the model does not know
			continue
		}
		tasks, err := q.ListDueTasks(s.ctx, pgdb.ListDueTasksParams{Queue: queue, Now: math.MaxInt64, Most: math.MaxInt32})
		s.must("tasks", err)
		want := map[[2]int64]int{}
		for _, t := range s.m.tasks[queue] {
			want[[2]int64{t.record(), t.due}]++
		}
		s.same("tasks of "+queue, len(tasks), len(s.m.tasks[queue]))
		for _, t := range tasks {
			if want[[2]int64{t.RecordID, t.DueAt}]--; want[[2]int64{t.RecordID, t.DueAt}] < 0 {
				s.fail("task %d of %s for record %d is not in the model", t.ID, queue, t.RecordID)
			}
		}
	}
}

func sortedKeys[V any](from map[string]V) []string {
	keys := make([]string, 0, len(from))
	for k := range from {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// compareClosed looks at a database that no node has open any more: no content is there to which nothing refers, and no
// chunk without its content. It returns a hash of every row.
//
// Left out is what is the machine's: how long a webhook took and when a migration ran. On PostgreSQL app.changes and the
// sequence of the ids are in it: a single goroutine decides in which order the nodes come, and what the store looks up by
// itself it looks up once.
func (s *sim) compareClosed() string {
	driver, source := s.books.side()
	db, err := sql.Open(driver, source)
	s.must("open", err)
	defer db.Close()
	for what, query := range map[string]string{
		"contents to which nothing refers": `SELECT count(*) FROM content c WHERE NOT EXISTS (SELECT 1 FROM result_file r WHERE r.content_id = c.id)
			AND NOT EXISTS (SELECT 1 FROM trade_file f WHERE f.content_id = c.id OR f.errors_id = c.id)`,
		"chunks without a content": "SELECT count(*) FROM content_chunk k WHERE NOT EXISTS (SELECT 1 FROM content c WHERE c.id = k.content_id)",
	} {
		var many int
		s.must(what, db.QueryRowContext(s.ctx, query).Scan(&many))
		s.same(what, many, 0)
	}
	tables := []string{"secret", "app", "app_key", "request", "seller", "binding", "account", "posting", "share", "deposit", "trade_file", "trade_refused",
		"trade_part", "trade_row", "content", "content_chunk", "result_file", "delivery", "delivery_attempt", "task", "audit", "call"}
	queries := map[string]string{}
	for _, table := range tables {
		queries[table] = "SELECT * FROM " + table + " ORDER BY 1, 2, 3"
	}
	queries["secret"] = "SELECT * FROM secret ORDER BY name"
	queries["content_chunk"] = "SELECT * FROM content_chunk ORDER BY content_id, no"
	queries["ids"] = "SELECT next FROM id_block"
	if driver == "pgx" {
		queries["ids"] = "SELECT last_value FROM row_id"
	}
	sum := sha256.New()
	for _, table := range append(tables, "ids") {
		rows, err := db.QueryContext(s.ctx, queries[table])
		s.must(table, err)
		columns, err := rows.Columns()
		s.must(table, err)
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			s.must(table, rows.Scan(into...))
			if i := slices.Index(columns, "took_ms"); i >= 0 {
				values[i] = nil
			}
			fmt.Fprintln(sum, table, values)
		}
		s.must(table, rows.Err())
		rows.Close()
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}
