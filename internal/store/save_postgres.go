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

// The tables that groups write, with the columns that change.
var (
	appRows      = rowsIn[pgdb.App]("app")
	sellerRows   = rowsIn[pgdb.Seller]("seller", "status", "changed_at")
	bindingRows  = rowsIn[pgdb.Binding]("binding", "state", "fail_reason", "link_hash", "link_expires_at", "consent", "confirmed_at", "decided_at", "bound_at")
	shareRows    = rowsIn[pgdb.Share]("share", "state", "fail_code", "finished_at")
	accountRows  = rowsIn[pgdb.Account]("account", "balance", "held", "last_no", "last_at", "day", "day_amount")
	deliveryRows = rowsIn[pgdb.Delivery]("delivery", "state", "attempts", "due_at", "finished_at")
	depositRows  = rowsIn[pgdb.Deposit]("deposit", "reversed_at")
	fileRows     = rowsIn[pgdb.TradeFile]("trade_file", "state", "seller_id", "currency", "total_rows", "accepted_rows", "rejected_rows", "fail_reason", "warnings", "finished_at", "errors_id")
	requestRows  = rowsIn[pgdb.Request]("request")
	auditRows    = rowsIn[pgdb.Audit]("audit")
	postingRows  = rowsIn[pgdb.Posting]("posting")
	attemptRows  = rowsIn[pgdb.DeliveryAttempt]("delivery_attempt")
	callRows     = rowsIn[pgdb.Call]("call")
	taskRows     = rowsIn[pgdb.Task]("task")
)

// changedElsewhere is division_by_zero.
const changedElsewhere = "22012"

// save sends everything that the group has left, one statement a table, and the COMMIT behind it.
func (p *postgres) save(ctx context.Context, v *View, apart bool) error {
	b := &pgx.Batch{}
	if p.ahead {
		b.Queue("BEGIN")
		for _, app := range p.apps { // changedElsewhere, should another node have been there
			b.Queue("UPDATE app SET changes = changes + 1 / (changes = $2)::int WHERE app_id = $1", app, v.Apps.rows[app].Changes)
		}
	}
	put(b, sellerRows, v.Sellers)
	put(b, bindingRows, v.Bindings)
	put(b, shareRows, v.Shares)
	put(b, accountRows, v.Accounts)
	put(b, deliveryRows, v.Deliveries)
	// Bank references and references of operators' acts are unique over all apps: nodes wait for each other in one order.
	slices.SortFunc(v.Deposits.order, func(a, b DepositKey) int {
		return cmp.Or(strings.Compare(a.Currency, b.Currency), strings.Compare(a.BankReference, b.BankReference))
	})
	put(b, depositRows, v.Deposits)
	put(b, fileRows, v.Files)
	put(b, requestRows, v.Requests)
	slices.Sort(v.Audits.order)
	put(b, auditRows, v.Audits)
	postingRows.insert(b, v.postings)
	attemptRows.insert(b, v.attempts)
	callRows.insert(b, v.calls)
	if len(v.oldTasks) > 0 {
		b.Queue("DELETE FROM task WHERE id = ANY($1)", v.oldTasks)
	}
	taskRows.insert(b, v.newTasks)
	if !p.ahead && len(p.apps) > 0 && (apart || b.Len() > 0) {
		b.Queue("UPDATE app SET changes = changes + 1 WHERE app_id = ANY($1)", p.apps)
	}
	if b.Len() > 0 {
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

// put inserts the new rows of a table and updates the others.
func put[K comparable, R any](b *pgx.Batch, rows rowsOf[R], t *Table[K, R]) {
	if len(t.order) == 0 {
		return
	}
	var fresh, changed []R
	for _, k := range t.order {
		if t.asked[k] {
			changed = append(changed, t.rows[k])
		} else {
			fresh = append(fresh, t.rows[k])
		}
	}
	rows.insert(b, fresh)
	rows.update(b, changed)
}

// rowsOf reads and writes a table's rows as the generated struct R. Columns are always named: a node may run over the tables
// of a later version, which have more of them.
type rowsOf[R any] struct {
	columns              string // of the alias r
	all, changing        []int  // fields of R: for an insert; for an update, the id before those that change
	insertOne, updateOne string
	insertAll, updateAll string // from an array for each column
}

// few rows are written by a statement each: PostgreSQL needs a quarter of the time that it takes it to unpack arrays.
const few = 4

func rowsIn[R any](table string, changing ...string) rowsOf[R] {
	var t rowsOf[R]
	var names, aliased, places, arrays []string // of all columns
	var sets, setsFrom, some, someArrays []string
	for i := range reflect.TypeFor[R]().NumField() {
		f := reflect.TypeFor[R]().Field(i)
		name := f.Tag.Get("db")
		cast := map[reflect.Kind]string{reflect.Int64: "bigint", reflect.String: "text", reflect.Slice: "bytea"}[f.Type.Kind()]
		t.all = append(t.all, i)
		names, aliased = append(names, name), append(aliased, "r."+name)
		places, arrays = append(places, "$"+strconv.Itoa(len(t.all))), append(arrays, fmt.Sprintf("$%d::%s[]", len(t.all), cast))
		if name != "id" && !slices.Contains(changing, name) {
			continue
		}
		t.changing = append(t.changing, i)
		some, someArrays = append(some, name), append(someArrays, fmt.Sprintf("$%d::%s[]", len(t.changing), cast))
		if name != "id" {
			sets, setsFrom = append(sets, name+" = $"+strconv.Itoa(len(t.changing))), append(setsFrom, name+" = u."+name)
		}
	}
	list := func(texts []string) string { return strings.Join(texts, ", ") }
	t.columns = list(aliased)
	t.insertOne = "INSERT INTO " + table + " (" + list(names) + ") VALUES (" + list(places) + ")"
	t.insertAll = "INSERT INTO " + table + " (" + list(names) + ") SELECT * FROM unnest(" + list(arrays) + ")"
	t.updateOne = "UPDATE " + table + " SET " + list(sets) + " WHERE id = $1" // the id is the first field
	t.updateAll = "UPDATE " + table + " AS t SET " + list(setsFrom) + " FROM unnest(" + list(someArrays) + ") AS u(" + list(some) + ") WHERE t.id = u.id"
	return t
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

func (t rowsOf[R]) insert(b *pgx.Batch, rows []R) { write(b, rows, t.all, t.insertOne, t.insertAll) }
func (t rowsOf[R]) update(b *pgx.Batch, rows []R) {
	write(b, rows, t.changing, t.updateOne, t.updateAll)
}

// write queues a statement for each of a few rows, or one for all.
func write[R any](b *pgx.Batch, rows []R, fields []int, one, all string) {
	if len(rows) == 0 {
		return
	}
	if len(rows) <= few {
		for i := range rows {
			r := reflect.ValueOf(&rows[i]).Elem()
			args := make([]any, len(fields))
			for j, f := range fields {
				args[j] = r.Field(f).Interface()
			}
			b.Queue(one, args...)
		}
		return
	}
	arrays := make([]any, len(fields))
	for j, f := range fields {
		switch reflect.TypeFor[R]().Field(f).Type.Kind() {
		case reflect.Int64:
			arrays[j] = column(rows, f, reflect.Value.Int)
		case reflect.String:
			arrays[j] = column(rows, f, reflect.Value.String)
		default:
			arrays[j] = column(rows, f, reflect.Value.Bytes)
		}
	}
	b.Queue(all, arrays...)
}

func column[R, T any](rows []R, field int, value func(reflect.Value) T) []T {
	out := make([]T, len(rows))
	for i := range rows {
		out[i] = value(reflect.ValueOf(&rows[i]).Elem().Field(field))
	}
	return out
}
