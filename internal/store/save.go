package store

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// The tables that groups write, with the columns that change.
var (
	appRows      = rowsIn[pgdb.App]("app")
	sellerRows   = rowsIn[pgdb.Seller]("seller", "status", "changed_at")
	bindingRows  = rowsIn[pgdb.Binding]("binding", "state", "fail_reason", "link_hash", "link_expires_at", "consent", "confirmed_at", "decided_at", "bound_at")
	shareRows    = rowsIn[pgdb.Share]("share", "state", "fail_code", "finished_at")
	accountRows  = rowsIn[pgdb.Account]("account", "balance", "held", "last_no", "last_at", "day", "day_amount", "last_posting_id")
	deliveryRows = rowsIn[pgdb.Delivery]("delivery", "state", "attempts", "due_at", "finished_at")
	depositRows  = rowsIn[pgdb.Deposit]("deposit", "reversed_at")
	fileRows     = rowsIn[pgdb.TradeFile]("trade_file", "state", "seller_id", "currency", "total_rows", "accepted_rows", "rejected_rows", "fail_reason", "warnings", "finished_at", "content_id", "errors_id", "run_id", "booked_no", "broken", "erased_at", "erase_reason", "redacted_at", "encoding")
	requestRows  = rowsIn[pgdb.Request]("request")
	auditRows    = rowsIn[pgdb.Audit]("audit")
	postingRows  = rowsIn[pgdb.Posting]("posting")
	attemptRows  = rowsIn[pgdb.DeliveryAttempt]("delivery_attempt")
	callRows     = rowsIn[pgdb.Call]("call")
	partRows     = rowsIn[pgdb.TradePart]("trade_part")
	tradeRows    = rowsIn[pgdb.TradeRow]("trade_row")
	taskRows     = rowsIn[pgdb.Task]("task")
)

// saver writes rows the way that suits an engine.
type saver interface {
	insert(t *table, rows []reflect.Value)
	update(t *table, rows []reflect.Value)
	deleteTasks(ids []int64)
}

// save writes everything that the group has left.
func (v *View) save(s saver) {
	put(s, sellerRows, v.Sellers)
	put(s, bindingRows, v.Bindings)
	put(s, shareRows, v.Shares)
	put(s, accountRows, v.Accounts)
	put(s, deliveryRows, v.Deliveries)
	// Bank references and references of operators' acts are unique over all apps: nodes wait for each other in one order.
	slices.SortFunc(v.Deposits.order, func(a, b DepositKey) int {
		return cmp.Or(strings.Compare(a.Currency, b.Currency), strings.Compare(a.BankReference, b.BankReference))
	})
	put(s, depositRows, v.Deposits)
	put(s, fileRows, v.Files)
	put(s, requestRows, v.Requests)
	slices.Sort(v.Audits.order)
	put(s, auditRows, v.Audits)
	add(s, postingRows, v.postings)
	add(s, attemptRows, v.attempts)
	add(s, callRows, v.calls)
	add(s, partRows, v.tradeParts)
	add(s, tradeRows, v.tradeRows)
	if len(v.oldTasks) > 0 {
		s.deleteTasks(v.oldTasks)
	}
	add(s, taskRows, v.newTasks)
}

// put inserts the new rows of a table and updates the others.
func put[K comparable, R any](s saver, t rowsOf[R], from *Table[K, R]) {
	var fresh, changed []reflect.Value
	for _, k := range from.order {
		r := from.rows[k]
		if from.asked[k] {
			changed = append(changed, reflect.ValueOf(&r).Elem())
		} else {
			fresh = append(fresh, reflect.ValueOf(&r).Elem())
		}
	}
	if len(fresh) > 0 {
		s.insert(t.table, fresh)
	}
	if len(changed) > 0 {
		s.update(t.table, changed)
	}
}

func add[R any](s saver, t rowsOf[R], rows []R) {
	if len(rows) == 0 {
		return
	}
	values := make([]reflect.Value, len(rows))
	for i := range rows {
		values[i] = reflect.ValueOf(&rows[i]).Elem()
	}
	s.insert(t.table, values)
}

// rowsOf is a table whose rows are the generated struct R.
type rowsOf[R any] struct{ *table }

// table has the statements of a table. Columns are always named: a node may run over the tables of a later version, which
// have more of them.
type table struct {
	names         []string
	columns       string // of the alias r
	all, changing []int  // fields of the struct: for an insert; for an update, those that change and the id

	insertOne, insertMany, insertAll string // a row; manyRows; any number, from an array for each column (PostgreSQL)
	updateOne, updateAll             string
}

const manyRows = 16

func rowsIn[R any](name string, changing ...string) rowsOf[R] {
	t := &table{}
	var names, aliased, places, arrays []string // of all columns
	var sets, setsFrom, some, someArrays []string
	row := reflect.TypeFor[R]()
	for i := range row.NumField() {
		column := row.Field(i).Tag.Get("db")
		cast := map[reflect.Kind]string{reflect.Int64: "bigint", reflect.String: "text", reflect.Slice: "bytea"}[row.Field(i).Type.Kind()]
		t.all = append(t.all, i)
		place := "$" + strconv.Itoa(len(t.all))
		names, aliased, places, arrays = append(names, column), append(aliased, "r."+column), append(places, place), append(arrays, place+"::"+cast+"[]")
		if slices.Contains(changing, column) {
			t.changing = append(t.changing, i)
			place = "$" + strconv.Itoa(len(t.changing))
			some, someArrays = append(some, column), append(someArrays, place+"::"+cast+"[]")
			sets, setsFrom = append(sets, column+" = "+place), append(setsFrom, column+" = u."+column)
		}
	}
	t.changing = append(t.changing, 0) // the id is the first field
	id := "$" + strconv.Itoa(len(t.changing))
	some, someArrays = append(some, "id"), append(someArrays, id+"::bigint[]")
	list := func(texts []string) string { return strings.Join(texts, ", ") }
	t.names, t.columns = names, list(aliased)
	insert := "INSERT INTO " + name + " (" + list(names) + ") "
	t.insertOne = insert + "VALUES (" + list(places) + ")"
	t.insertMany = insert + "VALUES " + list(slices.Repeat([]string{"(" + list(slices.Repeat([]string{"?"}, len(names))) + ")"}, manyRows))
	t.insertAll = insert + "SELECT * FROM unnest(" + list(arrays) + ")"
	t.updateOne = "UPDATE " + name + " SET " + list(sets) + " WHERE id = " + id
	t.updateAll = "UPDATE " + name + " AS t SET " + list(setsFrom) + " FROM unnest(" + list(someArrays) + ") AS u(" + list(some) + ") WHERE t.id = u.id"
	return rowsOf[R]{t}
}

// arguments are the values of some fields of a row.
func arguments(args []any, row reflect.Value, fields []int) []any {
	for _, f := range fields {
		args = append(args, row.Field(f).Interface())
	}
	return args
}
