package store

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// load begins, locks the apps, takes the time and ids, and only then reads, one query a table, so that it sees what the node
// that had the apps before has left. All of it goes to the server at once. What the node carries over from its own last
// group is not read again; should another node have been at work in between, everything is, in a second step.
func (p *postgres) load(ctx context.Context, group []*queued) (*View, error) {
	var keys Keys
	var apps []string
	blocks, left := int64(1), int64(idBlock)
	for _, u := range group {
		keys.add(u.Keys)
		apps = append(apps, u.Keys.apps()...)
		for ; u.idsNeeded() > left; left += idBlock {
			blocks++
		}
		left -= u.idsNeeded()
	}
	slices.Sort(apps)
	p.apps = slices.Compact(apps)

	v := p.carried
	p.carried = newView() // unless this group succeeds, the next one loads everything anew
	b := &pgx.Batch{}
	b.Queue("BEGIN")
	locked := make(map[string]pgdb.App, len(apps))
	if len(p.apps) > 0 {
		each(b, func(r pgdb.App) { locked[r.AppID] = r }, "SELECT @ FROM app WHERE app_id = ANY($1) ORDER BY app_id FOR NO KEY UPDATE", p.apps)
	}
	var now int64
	var ids []idRange
	b.Queue("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, array_agg(nextval('row_id')) FROM generate_series(1, $1)", blocks).QueryRow(func(row pgx.Row) error {
		var starts []int64
		err := row.Scan(&now, &starts)
		for _, s := range starts {
			ids = append(ids, idRange{s, s + idBlock})
		}
		return err
	})
	v.queueLoad(b, keys)
	if err := p.conn.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	for app, known := range v.Apps.rows {
		if is, ok := locked[app]; ok && is.Changes != known.Changes {
			v = newView()
			b := &pgx.Batch{}
			v.queueLoad(b, keys)
			if err := p.conn.SendBatch(ctx, b).Close(); err != nil {
				return nil, err
			}
			break
		}
	}
	for app, r := range locked {
		v.Apps.found(app, r)
	}
	v.noteMissing(keys)
	if err := p.loadShares(ctx, v, keys.SharesOf); err != nil {
		return nil, err
	}
	now = p.clock.from(now)
	for _, u := range group {
		u.given.now, u.given.ids = now, take(&ids, u.idsNeeded())
	}
	return v, nil
}

// loadShares reads the shares that requests made which are sent again; mostly there are none.
func (p *postgres) loadShares(ctx context.Context, v *View, of []RequestKey) error {
	var ids []int64
	for _, k := range of {
		if r, ok := v.Requests.rows[k]; ok && r.RecordID != 0 {
			ids = append(ids, r.RecordID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	v.queueShares(b, ids)
	err := p.conn.SendBatch(ctx, b).Close()
	missing(v.Shares, ids)
	return err
}

// idBlock is how many ids one step of the sequence row_id gives.
const idBlock = 8192

// take removes n ids from ranges.
func take(ranges *[]idRange, n int64) (out []idRange) {
	for n > 0 {
		r := &(*ranges)[0]
		part := idRange{r.next, min(r.end, r.next+n)}
		n -= part.end - part.next
		out = append(out, part)
		if r.next = part.end; r.next == r.end {
			*ranges = (*ranges)[1:]
		}
	}
	return out
}

// add puts the keys of another unit to k.
func (k *Keys) add(o Keys) {
	k.Apps = append(k.Apps, o.Apps...)
	k.Requests = append(k.Requests, o.Requests...)
	k.Sellers = append(k.Sellers, o.Sellers...)
	k.Events = append(k.Events, o.Events...)
	k.Deliveries = append(k.Deliveries, o.Deliveries...)
	k.Shares = append(k.Shares, o.Shares...)
	k.SharesOf = append(k.SharesOf, o.SharesOf...)
	k.Accounts = append(k.Accounts, o.Accounts...)
	k.Deposits = append(k.Deposits, o.Deposits...)
	k.Files = append(k.Files, o.Files...)
	k.Audits = append(k.Audits, o.Audits...)
}

// queueLoad asks for the rows that the view does not have. The apps are locked, and so are in v or will be.
func (v *View) queueLoad(b *pgx.Batch, keys Keys) {
	if sellers := unknown(keys.Sellers, func(k SellerKey) bool { return v.bindings[k] != nil }); len(sellers) > 0 {
		apps, sellers := split(sellers, SellerKey.parts)
		find(b, v.Sellers, sellerKey, "SELECT @s. FROM "+pairs+" (SELECT * FROM seller WHERE app_id = k.a AND seller_id = k.b OFFSET 0) s", apps, sellers)
		each(b, func(r pgdb.Binding) {
			v.Bindings.found(r.ID, r)
			k := SellerKey{r.AppID, r.SellerID}
			v.bindings[k] = append(v.bindings[k], r.ID)
		}, "SELECT @s. FROM "+pairs+" (SELECT * FROM binding WHERE app_id = k.a AND seller_id = k.b OFFSET 0) s ORDER BY s.id", apps, sellers)
	}
	if len(keys.Events) > 0 {
		apps, sellers := split(unknown(keys.Events, nil), SellerKey.parts)
		each(b, func(r pgdb.Delivery) {
			v.Deliveries.found(r.ID, r)
			k := SellerKey{r.AppID, r.SellerID}
			v.events[k] = append(v.events[k], r.ID)
		}, "SELECT @d. FROM "+pairs+" (SELECT * FROM delivery WHERE app_id = k.a AND seller_id = k.b AND state IN ('PENDING', 'DEAD') OFFSET 0) d ORDER BY d.id", apps, sellers)
	}
	if len(keys.Deliveries) > 0 {
		find(b, v.Deliveries, func(r pgdb.Delivery) int64 { return r.ID }, "SELECT @ FROM delivery WHERE id = ANY($1)", keys.Deliveries)
	}
	if shares := unknown(keys.Shares, func(id int64) bool { return v.Shares.asked[id] }); len(shares) > 0 {
		v.queueShares(b, shares)
	}
	if owners := unknown(ownersOf(keys.Accounts), func(k AccountKey) bool { return v.books[k] }); len(owners) > 0 {
		apps, sellers, currencies := split3(owners, func(k AccountKey) (string, string, string) { return k.AppID, k.SellerID, k.Currency })
		find(b, v.Accounts, func(r pgdb.Account) AccountKey { return AccountKey{r.AppID, r.Kind, r.SellerID, r.Currency} },
			"SELECT @t. FROM "+triples+" (SELECT * FROM account WHERE app_id = k.a AND seller_id = k.b AND currency = k.c OFFSET 0) t", apps, sellers, currencies)
	}
	if len(keys.Deposits) > 0 {
		currencies, references := split(unknown(keys.Deposits, nil), func(k DepositKey) (string, string) { return k.Currency, k.BankReference })
		find(b, v.Deposits, depositKey, "SELECT @d. FROM "+pairs+" (SELECT * FROM deposit WHERE currency = k.a AND bank_reference = k.b OFFSET 0) d", currencies, references)
	}
	if len(keys.Files) > 0 {
		find(b, v.Files, func(r pgdb.TradeFile) int64 { return r.ID }, "SELECT @ FROM trade_file WHERE id = ANY($1)", keys.Files)
	}
	if len(keys.Requests) > 0 {
		apps, operations, numbers := split3(unknown(keys.Requests, nil), RequestKey.parts)
		find(b, v.Requests, requestKey, "SELECT @r. FROM "+triples+" (SELECT * FROM request WHERE app_id = k.a AND operation = k.b AND request_no = k.c OFFSET 0) r", apps, operations, numbers)
	}
	if len(keys.Audits) > 0 {
		find(b, v.Audits, func(r pgdb.Audit) string { return r.Reference }, "SELECT @ FROM audit WHERE reference = ANY($1)", keys.Audits)
	}
}

func (v *View) queueShares(b *pgx.Batch, ids []int64) {
	find(b, v.Shares, func(r pgdb.Share) int64 { return r.ID }, "SELECT @ FROM share WHERE id = ANY($1)", ids)
}

// ownersOf names each owner in each currency; all their accounts are loaded at once, because units want several of them.
func ownersOf(keys []AccountKey) []AccountKey {
	owners := slices.Clone(keys)
	for i := range owners {
		owners[i].Kind = ""
	}
	return owners
}

// unknown returns each key once, without those that the view has already.
func unknown[K comparable](keys []K, known func(K) bool) []K {
	out := make([]K, 0, len(keys))
	seen := make(map[K]bool, len(keys))
	for _, k := range keys {
		if !seen[k] && (known == nil || !known(k)) {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// noteMissing remembers which rows were asked for and are not there.
func (v *View) noteMissing(keys Keys) {
	missing(v.Apps, keys.Apps)
	missing(v.Requests, keys.Requests)
	missing(v.Sellers, keys.Sellers)
	missing(v.Deliveries, keys.Deliveries)
	missing(v.Shares, keys.Shares)
	missing(v.Accounts, keys.Accounts)
	missing(v.Deposits, keys.Deposits)
	missing(v.Files, keys.Files)
	missing(v.Audits, keys.Audits)
	for _, k := range ownersOf(keys.Accounts) {
		v.books[k] = true
	}
	for _, k := range keys.Sellers {
		if v.bindings[k] == nil {
			v.bindings[k] = []int64{}
		}
	}
	for _, k := range keys.Events {
		if v.events[k] == nil {
			v.events[k] = []int64{}
		}
	}
}

func missing[K comparable, R any](t *Table[K, R], keys []K) {
	for _, k := range keys {
		t.missing(k)
	}
}

// The rows of some keys, each looked up by itself through the index of its key. OFFSET 0 keeps the planner from turning
// that round: of a table that was empty when it last looked, it would read everything and search the keys.
const (
	pairs   = "unnest($1::text[], $2::text[]) AS k(a, b) CROSS JOIN LATERAL"
	triples = "unnest($1::text[], $2::text[], $3::text[]) AS k(a, b, c) CROSS JOIN LATERAL"
)

func (k SellerKey) parts() (a, b string)     { return k.AppID, k.SellerID }
func (k RequestKey) parts() (a, b, c string) { return k.AppID, k.Operation, k.RequestNo }

func sellerKey(r pgdb.Seller) SellerKey    { return SellerKey{r.AppID, r.SellerID} }
func requestKey(r pgdb.Request) RequestKey { return RequestKey{r.AppID, r.Operation, r.RequestNo} }
func depositKey(r pgdb.Deposit) DepositKey { return DepositKey{r.Currency, r.BankReference} }

// split makes an array of each part of the keys.
func split[K any](keys []K, parts func(K) (string, string)) (as, bs []string) {
	for _, k := range keys {
		a, b := parts(k)
		as, bs = append(as, a), append(bs, b)
	}
	return as, bs
}

func split3[K any](keys []K, parts func(K) (string, string, string)) (as, bs, cs []string) {
	for _, k := range keys {
		a, b, c := parts(k)
		as, bs, cs = append(as, a), append(bs, b), append(cs, c)
	}
	return as, bs, cs
}

// find queues a query whose rows go into the table.
func find[K comparable, R any](b *pgx.Batch, t *Table[K, R], key func(R) K, query string, args ...any) {
	each(b, func(r R) { t.found(key(r), r) }, query, args...)
}

// each queues a query of whole rows. Its columns, at the @ behind which stands an alias with a point, are named: a node may
// run over the tables of a later version, which have more of them.
func each[R any](b *pgx.Batch, fn func(R), query string, args ...any) {
	before, after, _ := strings.Cut(query, "@")
	alias, after, _ := strings.Cut(after, " ")
	var names []string
	for i := range reflect.TypeFor[R]().NumField() {
		names = append(names, alias+reflect.TypeFor[R]().Field(i).Tag.Get("db"))
	}
	b.Queue(before+strings.Join(names, ", ")+" "+after, args...).Query(func(rows pgx.Rows) error {
		var r R
		into := pointers(&r)
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return fmt.Errorf("%T: %w", r, err)
			}
			fn(r)
			reflect.ValueOf(&r).Elem().SetZero() // a []byte must not be written into twice
		}
		return rows.Err()
	})
}

func pointers[R any](r *R) []any {
	s := reflect.ValueOf(r).Elem()
	out := make([]any, s.NumField())
	for i := range out {
		out[i] = s.Field(i).Addr().Interface()
	}
	return out
}

// save sends everything that the group has left, one statement a table, and the COMMIT behind it.
func (p *postgres) save(ctx context.Context, v *View, alone bool) error {
	b := &pgx.Batch{}
	queueTable(b, v.Sellers, "seller", "status", "changed_at")
	queueTable(b, v.Bindings, "binding", "state", "fail_reason", "link_hash", "link_expires_at", "consent", "confirmed_at", "decided_at", "bound_at")
	queueTable(b, v.Shares, "share", "state", "fail_code", "finished_at")
	queueTable(b, v.Accounts, "account", "balance", "held", "last_no", "last_at", "day", "day_amount")
	queueTable(b, v.Deliveries, "delivery", "state", "attempts", "due_at", "finished_at")
	// Bank references and references of operators' acts are unique over all apps: nodes wait for each other in one order.
	slices.SortFunc(v.Deposits.order, func(a, b DepositKey) int {
		return cmp.Or(strings.Compare(a.Currency, b.Currency), strings.Compare(a.BankReference, b.BankReference))
	})
	queueTable(b, v.Deposits, "deposit", "reversed_at")
	queueTable(b, v.Files, "trade_file", "state", "seller_id", "currency", "total_rows", "accepted_rows", "rejected_rows", "fail_reason", "warnings", "finished_at", "errors_id")
	queueTable(b, v.Requests, "request")
	slices.Sort(v.Audits.order)
	queueTable(b, v.Audits, "audit")
	queueInsert(b, "posting", v.postings)
	queueInsert(b, "delivery_attempt", v.attempts)
	queueInsert(b, "call", v.calls)
	if len(v.oldTasks) > 0 {
		b.Queue("DELETE FROM task WHERE id = ANY($1)", v.oldTasks)
	}
	queueInsert(b, "task", v.newTasks)
	if len(p.apps) > 0 && (alone || b.Len() > 0) {
		b.Queue("UPDATE app SET changes = changes + 1 WHERE app_id = ANY($1)", p.apps)
		for _, app := range p.apps {
			if r, ok := v.Apps.rows[app]; ok {
				r.Changes++
				v.Apps.rows[app] = r
			}
		}
	}
	b.Queue("COMMIT")
	return p.conn.SendBatch(ctx, b).Close()
}

// queueTable inserts the new rows of a table, and updates the named columns of the others.
func queueTable[K comparable, R any](b *pgx.Batch, t *Table[K, R], name string, changing ...string) {
	var fresh, changed []R
	for _, k := range t.order {
		if t.asked[k] {
			changed = append(changed, t.rows[k])
		} else {
			fresh = append(fresh, t.rows[k])
		}
	}
	queueInsert(b, name, fresh)
	if len(changed) == 0 {
		return
	}
	names, casts, arrays := columns(changed, append([]string{"id"}, changing...))
	set := make([]string, len(changing))
	if len(changed) <= few {
		for i, c := range changing {
			set[i] = c + " = $" + strconv.Itoa(i+2)
		}
		for i := range changed {
			b.Queue("UPDATE "+name+" SET "+strings.Join(set, ", ")+" WHERE id = $1", elements(arrays, i)...)
		}
		return
	}
	for i, c := range changing {
		set[i] = c + " = u." + c
	}
	b.Queue("UPDATE "+name+" AS t SET "+strings.Join(set, ", ")+" FROM unnest("+strings.Join(casts, ", ")+") AS u("+strings.Join(names, ", ")+") WHERE t.id = u.id", arrays...)
}

func queueInsert[R any](b *pgx.Batch, table string, rows []R) {
	if len(rows) == 0 {
		return
	}
	names, casts, arrays := columns(rows, nil)
	insert := "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") "
	if len(rows) <= few {
		places := make([]string, len(names))
		for i := range places {
			places[i] = "$" + strconv.Itoa(i+1)
		}
		for i := range rows {
			b.Queue(insert+"VALUES ("+strings.Join(places, ", ")+")", elements(arrays, i)...)
		}
		return
	}
	b.Queue(insert+"SELECT * FROM unnest("+strings.Join(casts, ", ")+")", arrays...)
}

// few rows are written by a statement each: PostgreSQL needs a quarter of the time that it takes it to unpack arrays.
const few = 4

func elements(arrays []any, at int) []any {
	out := make([]any, len(arrays))
	for i, a := range arrays {
		out[i] = reflect.ValueOf(a).Index(at).Interface()
	}
	return out
}

// columns turns rows into an array for each column, all or the named ones, and says how the statement casts it.
func columns[R any](rows []R, named []string) (names, casts []string, arrays []any) {
	for i := range reflect.TypeFor[R]().NumField() {
		f := reflect.TypeFor[R]().Field(i)
		name := f.Tag.Get("db")
		if named != nil && !slices.Contains(named, name) {
			continue
		}
		names = append(names, name)
		values := reflect.MakeSlice(reflect.SliceOf(f.Type), len(rows), len(rows))
		for j := range rows {
			values.Index(j).Set(reflect.ValueOf(&rows[j]).Elem().Field(i))
		}
		arrays = append(arrays, values.Interface())
		cast := map[reflect.Kind]string{reflect.Int64: "bigint", reflect.String: "text", reflect.Slice: "bytea"}[f.Type.Kind()]
		casts = append(casts, fmt.Sprintf("$%d::%s[]", len(arrays), cast))
	}
	return names, casts, arrays
}
