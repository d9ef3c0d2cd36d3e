package store

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// load begins, locks the apps, takes the time and ids, and only then reads, one query a table, so that it sees what the node
// that had the apps before has left. All of it goes to the server at once. What the node carries over from its own last
// group is not read again; should another node have been at work in between, everything is, in a second step.
func (p *postgres) load(ctx context.Context, group []*queued) (*View, error) {
	keys := groupKeys(group)
	p.apps = keys.apps()
	blocks, left := int64(1), int64(idBlock)
	for _, u := range group {
		for ; u.idsNeeded() > left; left += idBlock {
			blocks++
		}
		left -= u.idsNeeded()
	}
	blocks *= drawnGroups

	v := p.carried
	p.carried = newView() // unless this group succeeds, the next one loads everything anew
	p.drawn, p.wary = drawn{}, max(p.wary-1, 0)
	b := &pgx.Batch{}
	b.Queue("BEGIN")
	locked := make(map[string]pgdb.App, len(p.apps))
	if len(p.apps) > 0 {
		appRows.each(b, func(r pgdb.App) { locked[r.AppID] = r }, "app r WHERE app_id = ANY($1) ORDER BY app_id FOR NO KEY UPDATE", p.apps)
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
	p.drawn = drawn{at: p.clock.base(), now: now, ids: ids}
	p.give(group)
	return v, nil
}

// drawn is what a group that loads takes from the database beside its rows, and leaves to the next ones. They may use it for
// some time, and as long as no other node was at work on the same apps, so that ids and times of an app's rows only grow.
type drawn struct {
	at  time.Time // by the machine's clock
	now int64     // by the database's, not later
	ids []idRange
}

// waryGroups load before the next is judged ahead, after one that was not as it seemed.
const waryGroups = 16

const (
	drawnMost   = time.Second
	drawnGroups = 4 // of the same size have enough ids
)

// give gives each unit its time and ids.
func (p *postgres) give(group []*queued) {
	now := p.clock.from(p.drawn.now + p.clock.base().Sub(p.drawn.at).Milliseconds())
	for _, u := range group {
		u.given.now, u.given.ids = now, take(&p.drawn.ids, u.idsNeeded())
	}
}

// carriedFor returns the view of a group that the node need not load for, or nil. Requests are taken for new: should one not
// be, its key is refused at the commit.
func (p *postgres) carriedFor(group []*queued) *View {
	var need int64
	for _, u := range group {
		if u.Alone != nil {
			return nil
		}
		need += u.idsNeeded()
	}
	if age := p.clock.base().Sub(p.drawn.at); age < 0 || age > drawnMost || need > left(p.drawn.ids) {
		return nil
	}
	keys := groupKeys(group)
	apps := keys.apps()
	if len(apps) == 0 || len(apps) > few || !p.carried.has(apps, keys) {
		return nil
	}
	v := p.carried
	p.carried = newView() // as in load
	p.apps = apps
	v.noteMissing(keys)
	p.give(group)
	return v
}

// has says whether everything is there that units with these keys, of these apps, look at, but for requests.
func (v *View) has(apps []string, keys Keys) bool {
	if len(keys.Events)+len(keys.Deliveries)+len(keys.Deposits)+len(keys.Files)+len(keys.Audits) > 0 {
		return false
	}
	for _, app := range apps {
		if _, ok := v.Apps.rows[app]; !ok {
			return false
		}
	}
	keys.Requests = nil
	l := v.lacking(keys)
	return len(l.Apps)+len(l.Sellers)+len(l.Accounts)+len(l.Shares) == 0
}

func left(ids []idRange) (n int64) {
	for _, r := range ids {
		n += r.end - r.next
	}
	return n
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

// groupKeys is all that the units of a group name.
func groupKeys(group []*queued) (keys Keys) {
	if len(group) == 1 {
		return group[0].Keys
	}
	for _, u := range group {
		keys.add(u.Keys)
	}
	return keys
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
	lacking := v.lacking(keys)
	if len(lacking.Sellers) > 0 {
		apps, sellers := split(once(lacking.Sellers), SellerKey.parts)
		find(b, sellerRows, v.Sellers, sellerKey, pairs+" (SELECT * FROM seller WHERE app_id = k.a AND seller_id = k.b OFFSET 0) r", apps, sellers)
		bindingRows.each(b, func(r pgdb.Binding) {
			v.Bindings.found(r.ID, r)
			k := SellerKey{r.AppID, r.SellerID}
			v.bindings[k] = append(v.bindings[k], r.ID)
		}, pairs+" (SELECT * FROM binding WHERE app_id = k.a AND seller_id = k.b OFFSET 0) r ORDER BY r.id", apps, sellers)
	}
	if len(keys.Events) > 0 {
		apps, sellers := split(once(keys.Events), SellerKey.parts)
		deliveryRows.each(b, func(r pgdb.Delivery) {
			v.Deliveries.found(r.ID, r)
			k := SellerKey{r.AppID, r.SellerID}
			v.events[k] = append(v.events[k], r.ID)
		}, pairs+" (SELECT * FROM delivery WHERE app_id = k.a AND seller_id = k.b AND state IN ('PENDING', 'DEAD') OFFSET 0) r ORDER BY r.id", apps, sellers)
	}
	if len(keys.Deliveries) > 0 {
		find(b, deliveryRows, v.Deliveries, func(r pgdb.Delivery) int64 { return r.ID }, "delivery r WHERE id = ANY($1)", keys.Deliveries)
	}
	if len(lacking.Shares) > 0 {
		v.queueShares(b, once(lacking.Shares))
	}
	if len(lacking.Accounts) > 0 {
		apps, sellers, currencies := split3(once(ownersOf(lacking.Accounts)), func(k AccountKey) (string, string, string) { return k.AppID, k.SellerID, k.Currency })
		find(b, accountRows, v.Accounts, func(r pgdb.Account) AccountKey { return AccountKey{r.AppID, r.Kind, r.SellerID, r.Currency} },
			triples+" (SELECT * FROM account WHERE app_id = k.a AND seller_id = k.b AND currency = k.c OFFSET 0) r", apps, sellers, currencies)
	}
	if len(keys.Deposits) > 0 {
		currencies, references := split(once(keys.Deposits), func(k DepositKey) (string, string) { return k.Currency, k.BankReference })
		find(b, depositRows, v.Deposits, depositKey, pairs+" (SELECT * FROM deposit WHERE currency = k.a AND bank_reference = k.b OFFSET 0) r", currencies, references)
	}
	if len(keys.Files) > 0 {
		find(b, fileRows, v.Files, func(r pgdb.TradeFile) int64 { return r.ID }, "trade_file r WHERE id = ANY($1)", keys.Files)
	}
	if len(lacking.Requests) > 0 {
		apps, operations, numbers := split3(once(lacking.Requests), RequestKey.parts)
		find(b, requestRows, v.Requests, requestKey, triples+" (SELECT * FROM request WHERE app_id = k.a AND operation = k.b AND request_no = k.c OFFSET 0) r", apps, operations, numbers)
	}
	if len(keys.Audits) > 0 {
		find(b, auditRows, v.Audits, func(r pgdb.Audit) string { return r.Reference }, "audit r WHERE reference = ANY($1)", keys.Audits)
	}
}

func (v *View) queueShares(b *pgx.Batch, ids []int64) {
	find(b, shareRows, v.Shares, func(r pgdb.Share) int64 { return r.ID }, "share r WHERE id = ANY($1)", ids)
}

func ownersOf(keys []AccountKey) []AccountKey {
	owners := make([]AccountKey, len(keys))
	for i, k := range keys {
		owners[i] = k.owner()
	}
	return owners
}

// once returns each key once.
func once[K comparable](keys []K) []K {
	out := make([]K, 0, len(keys))
	seen := make(map[K]bool, len(keys))
	for _, k := range keys {
		if !seen[k] {
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
	for _, k := range keys.Accounts {
		v.books[k.owner()] = true
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

// find queues a query of whole rows r, which go into the view's table.
func find[K comparable, R any](b *pgx.Batch, rows rowsOf[R], t *Table[K, R], key func(R) K, from string, args ...any) {
	rows.each(b, func(r R) { t.found(key(r), r) }, from, args...)
}

// each queues a query of whole rows r.
func (t rowsOf[R]) each(b *pgx.Batch, fn func(R), from string, args ...any) {
	b.Queue("SELECT "+t.columns+" FROM "+from, args...).Query(func(rows pgx.Rows) error {
		var r R
		s := reflect.ValueOf(&r).Elem()
		into := make([]any, s.NumField())
		for i := range into {
			into[i] = s.Field(i).Addr().Interface()
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return fmt.Errorf("%T: %w", r, err)
			}
			fn(r)
			s.SetZero() // a []byte must not be written into twice
		}
		return rows.Err()
	})
}
