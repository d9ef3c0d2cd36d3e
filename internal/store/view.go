package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Keys names, by their natural keys, the rows that a unit may look at and change.
type Keys struct {
	Apps       []string
	Requests   []RequestKey
	Sellers    []SellerKey // each with all its bindings
	Events     []SellerKey // each seller's status events that are not delivered
	Deliveries []int64
	Shares     []int64
	SharesOf   []RequestKey // the share that each request made, if it is there
	Accounts   []AccountKey
	Deposits   []DepositKey
	Files      []int64
	Audits     []string // by reference
}

// The natural keys.
type (
	RequestKey struct{ AppID, Operation, RequestNo string }
	SellerKey  struct{ AppID, SellerID string }
	AccountKey struct{ AppID, Kind, SellerID, Currency string }
	DepositKey struct{ Currency, BankReference string }
)

// owner is the key of an owner's accounts in one currency, without Kind: all are loaded at once, because units want several.
func (k AccountKey) owner() AccountKey {
	return AccountKey{AppID: k.AppID, SellerID: k.SellerID, Currency: k.Currency}
}

// apps are the apps that own the rows, in order. On PostgreSQL a group locks them before it reads anything, so that no other
// node changes what it sees; a row's id does not tell its app, so the unit has to name it.
func (k Keys) apps() []string {
	var apps []string
	add := func(app string) {
		if len(apps) == 0 || apps[len(apps)-1] != app { // mostly it is the same for all
			apps = append(apps, app)
		}
	}
	for _, app := range k.Apps {
		add(app)
	}
	for _, r := range k.Requests {
		add(r.AppID)
	}
	for _, s := range k.Sellers {
		add(s.AppID)
	}
	for _, s := range k.Events {
		add(s.AppID)
	}
	for _, a := range k.Accounts {
		add(a.AppID)
	}
	slices.Sort(apps)
	return slices.Compact(apps)
}

func (k Keys) check() error {
	if len(k.Deliveries)+len(k.Shares)+len(k.Files) > 0 && len(k.apps()) == 0 {
		return errors.New("it names rows by their ids and no app that owns them")
	}
	return nil
}

// View is what the units of a group see: the rows that they asked for, as the units before them left them.
type View struct {
	Apps       *Table[string, pgdb.App]
	Requests   *Table[RequestKey, pgdb.Request]
	Sellers    *Table[SellerKey, pgdb.Seller]
	Bindings   *Table[int64, pgdb.Binding]
	Deliveries *Table[int64, pgdb.Delivery]
	Shares     *Table[int64, pgdb.Share]
	Accounts   *Table[AccountKey, pgdb.Account]
	Deposits   *Table[DepositKey, pgdb.Deposit]
	Files      *Table[int64, pgdb.TradeFile]
	Audits     *Table[string, pgdb.Audit]

	bindings map[SellerKey][]int64
	events   map[SellerKey][]int64
	books    map[AccountKey]bool     // whose accounts are loaded; Kind is empty
	settings map[string]readSettings // by app

	postings   []pgdb.Posting
	newTasks   []pgdb.Task
	oldTasks   []int64
	attempts   []pgdb.DeliveryAttempt
	calls      []pgdb.Call
	tradeParts []pgdb.TradePart
	tradeRows  []pgdb.TradeRow
	marks      [7]int // how long the seven lists were when the present unit began
	given      given
}

// readSettings are what an app's text of settings says. It is read once, not for every judgement.
type readSettings struct {
	text string
	Settings
}

func newView() *View {
	return &View{
		Apps:       newTable[string, pgdb.App]("app"),
		Requests:   newTable[RequestKey, pgdb.Request]("request"),
		Sellers:    newTable[SellerKey, pgdb.Seller]("seller"),
		Bindings:   newTable[int64, pgdb.Binding]("binding"),
		Deliveries: newTable[int64, pgdb.Delivery]("delivery"),
		Shares:     newTable[int64, pgdb.Share]("share"),
		Accounts:   newTable[AccountKey, pgdb.Account]("account"),
		Deposits:   newTable[DepositKey, pgdb.Deposit]("deposit"),
		Files:      newTable[int64, pgdb.TradeFile]("trade_file"),
		Audits:     newTable[string, pgdb.Audit]("audit"),
		bindings:   map[SellerKey][]int64{},
		events:     map[SellerKey][]int64{},
		books:      map[AccountKey]bool{},
	}
}

// SettingsOf reads the settings of an app.
func (v *View) SettingsOf(appID string) (Settings, error) {
	app, ok := v.Apps.Get(appID)
	if !ok {
		return Settings{}, fmt.Errorf("app %s is gone", appID)
	}
	if read, ok := v.settings[appID]; ok && read.text == app.Settings {
		return read.Settings, nil
	}
	s, err := SettingsOf(app)
	if err == nil {
		set(&v.settings, appID, readSettings{app.Settings, s})
	}
	return s, err
}

// Now is the unit's one time, in milliseconds.
func (v *View) Now() int64 { return v.given.now }

// NextID draws an id for a new row.
func (v *View) NextID() int64 {
	for len(v.given.ids) > 0 {
		if r := &v.given.ids[0]; r.next < r.end {
			r.next++
			return r.next - 1
		}
		v.given.ids = v.given.ids[1:]
	}
	panic("a unit drew more ids than it was given")
}

// NextRandom draws 32 random bytes. They come from the unit's own seed, so that a second run draws the same.
func (v *View) NextRandom() [32]byte {
	v.given.drawn++
	return sha256.Sum256(append(v.given.random[:], v.given.drawn))
}

// BindingsOf returns all bindings of a seller, oldest first.
func (v *View) BindingsOf(k SellerKey) []pgdb.Binding {
	loaded, ok := v.bindings[k]
	if !ok {
		panic(fmt.Sprintf("seller %v is not among the unit's keys", k))
	}
	return collect(v.Bindings, loaded, func(b pgdb.Binding) bool { return SellerKey{b.AppID, b.SellerID} == k })
}

// EventsOf returns the deliveries to a seller's app that the unit's Events key asked for, oldest first, and those made since.
func (v *View) EventsOf(k SellerKey) []pgdb.Delivery {
	loaded, ok := v.events[k]
	if !ok {
		panic(fmt.Sprintf("the events of seller %v are not among the unit's keys", k))
	}
	return collect(v.Deliveries, loaded, func(d pgdb.Delivery) bool { return SellerKey{d.AppID, d.SellerID} == k })
}

// collect reads the rows with the ids loaded, and the rows of the same owner put since.
func collect[R any](t *Table[int64, R], loaded []int64, owned func(R) bool) []R {
	ids := slices.Clone(loaded)
	for _, k := range t.order {
		if !slices.Contains(ids, k) && owned(t.rows[k]) {
			ids = append(ids, k)
		}
	}
	for k, r := range t.own {
		if !slices.Contains(ids, k) && owned(r) {
			ids = append(ids, k)
		}
	}
	slices.Sort(ids)
	rows := make([]R, len(ids))
	for i, id := range ids {
		rows[i], _ = t.Get(id)
	}
	return rows
}

// Post adds a posting; the ledger has already moved both accounts.
func (v *View) Post(p pgdb.Posting) { v.postings = append(v.postings, p) }

// AddTask leaves something to do after the commit.
func (v *View) AddTask(queue string, recordID, dueAt int64) {
	v.newTasks = append(v.newTasks, pgdb.Task{ID: v.NextID(), Queue: queue, RecordID: recordID, DueAt: dueAt})
}

// DropTask removes a task that is done.
func (v *View) DropTask(id int64) { v.oldTasks = append(v.oldTasks, id) }

// AddAttempt remembers a try at a delivery.
func (v *View) AddAttempt(a pgdb.DeliveryAttempt) { v.attempts = append(v.attempts, a) }

// AddCall records a call of the API.
func (v *View) AddCall(c pgdb.Call) { v.calls = append(v.calls, c) }

// AddTradePart tells how many rows of a file a seller has.
func (v *View) AddTradePart(p pgdb.TradePart) { v.tradeParts = append(v.tradeParts, p) }

// AddTradeRows writes rows of a trade file; see DB.WriteTradeRows for how many of them are written.
func (v *View) AddTradeRows(rows []pgdb.TradeRow) { v.tradeRows = append(v.tradeRows, rows...) }

// Reset drops everything the present unit has changed.
func (v *View) Reset() {
	v.each(func(t tabled) { t.drop() })
	v.postings, v.newTasks = v.postings[:v.marks[0]], v.newTasks[:v.marks[1]]
	v.oldTasks, v.attempts, v.calls = v.oldTasks[:v.marks[2]], v.attempts[:v.marks[3]], v.calls[:v.marks[4]]
	v.tradeParts, v.tradeRows = v.tradeParts[:v.marks[5]], v.tradeRows[:v.marks[6]]
}

// check says whether a unit has changed a row that only queries change, or that never changes.
func (v *View) check() error {
	if len(v.Apps.order) > 0 {
		return fmt.Errorf("app %v may not be changed", v.Apps.order[0])
	}
	for _, k := range v.Requests.order {
		if v.Requests.asked[k] {
			return fmt.Errorf("request %v may not be changed", k)
		}
	}
	for _, k := range v.Audits.order {
		if v.Audits.asked[k] {
			return fmt.Errorf("audit %v may not be changed", k)
		}
	}
	return nil
}

// wrote names rows that stay once they are written, one of each kind that the group has left.
func (v *View) wrote() (w pgdb.CountWrittenParams) {
	for _, k := range v.Requests.order {
		w.RequestID = v.Requests.rows[k].ID
	}
	for _, k := range v.Audits.order {
		w.AuditID = v.Audits.rows[k].ID
	}
	for _, k := range v.Shares.order {
		if !v.Shares.asked[k] {
			w.ShareID = k
		}
	}
	for _, k := range v.Files.order {
		if !v.Files.asked[k] {
			w.FileID = k
		}
	}
	for _, p := range v.postings {
		w.PostingID = p.ID
	}
	return w
}

func (v *View) begin(g given) {
	v.given = g
	v.given.ids = slices.Clone(g.ids) // a second run draws the same
	v.marks = [7]int{len(v.postings), len(v.newTasks), len(v.oldTasks), len(v.attempts), len(v.calls), len(v.tradeParts), len(v.tradeRows)}
}

// carriedMost bounds the rows that the next group finds loaded.
const carriedMost = 200_000

// carry makes the view of the next group. Unless another node has written, what this one has just committed is what it
// would load again: apps, sellers with their bindings, accounts, and shares that have not ended stay.
func (v *View) carry() *View {
	next := newView()
	if len(v.Accounts.rows)+len(v.Bindings.rows)+len(v.Sellers.rows)+len(v.Shares.rows) > carriedMost {
		return next
	}
	for _, id := range v.Bindings.order {
		b := v.Bindings.rows[id]
		if k := (SellerKey{b.AppID, b.SellerID}); !v.Bindings.asked[id] && v.bindings[k] != nil {
			v.bindings[k] = append(v.bindings[k], id)
		}
	}
	next.bindings, next.books, next.settings = v.bindings, v.books, v.settings
	v.Shares.forgetChanged() // a share changes once, when it ends
	next.Apps, next.Sellers, next.Bindings, next.Accounts, next.Shares = v.Apps.carry(), v.Sellers.carry(), v.Bindings.carry(), v.Accounts.carry(), v.Shares.carry()
	return next
}

// lacking is the part of the keys whose rows could be carried, or are requests, and that the view has not been asked for.
func (v *View) lacking(k Keys) Keys {
	var out Keys
	out.Apps = lacking(v.Apps, k.Apps)
	out.Requests = lacking(v.Requests, k.Requests)
	out.Shares = lacking(v.Shares, k.Shares)
	for _, s := range k.Sellers {
		if v.bindings[s] == nil {
			out.Sellers = append(out.Sellers, s)
		}
	}
	for _, a := range k.Accounts {
		if !v.books[a.owner()] {
			out.Accounts = append(out.Accounts, a)
		}
	}
	return out
}

func lacking[K comparable, R any](t *Table[K, R], keys []K) (out []K) {
	for _, k := range keys {
		if _, ok := t.asked[k]; !ok {
			out = append(out, k)
		}
	}
	return out
}

// join adds what was loaded into o and lacking here.
func (v *View) join(o *View) {
	v.Apps.join(o.Apps)
	v.Requests.join(o.Requests)
	v.Sellers.join(o.Sellers)
	v.Bindings.join(o.Bindings)
	v.Accounts.join(o.Accounts)
	v.Shares.join(o.Shares)
	for k, ids := range o.bindings {
		if v.bindings[k] == nil {
			v.bindings[k] = ids
		}
	}
	for k := range o.books {
		v.books[k] = true
	}
}

func (v *View) keep() { v.each(func(t tabled) { t.keep() }) }

func (v *View) each(fn func(tabled)) {
	for _, t := range []tabled{v.Apps, v.Requests, v.Sellers, v.Bindings, v.Deliveries, v.Shares, v.Accounts, v.Deposits,
		v.Files, v.Audits} {
		fn(t)
	}
}

type tabled interface {
	keep()
	drop()
}

// Table is one table's part of a View. The present unit's changes lie in own until they are kept or dropped. Most groups
// touch few tables: a map is made when something goes into it.
type Table[K comparable, R any] struct {
	name   string
	asked  map[K]bool // true when the row is in the database
	rows   map[K]R
	own    map[K]R
	order  []K // keys to be written, in the order in which they were first kept
	queued map[K]bool
	fresh  []K // keys of own, in order
}

func newTable[K comparable, R any](name string) *Table[K, R] {
	return &Table[K, R]{name: name}
}

// Get returns a copy of the row. Asking for a row that the unit's Keys did not name is a mistake in the program.
func (t *Table[K, R]) Get(k K) (R, bool) {
	if r, ok := t.own[k]; ok {
		return r, true
	}
	if r, ok := t.rows[k]; ok {
		return r, true
	}
	if _, ok := t.asked[k]; !ok {
		panic(fmt.Sprintf("%s %v is not among the unit's keys", t.name, k))
	}
	var none R
	return none, false
}

// Put writes a row, new or changed.
func (t *Table[K, R]) Put(k K, r R) {
	if _, ok := t.own[k]; !ok {
		t.fresh = append(t.fresh, k)
	}
	set(&t.own, k, r)
}

func (t *Table[K, R]) keep() {
	for _, k := range t.fresh {
		set(&t.rows, k, t.own[k])
		if !t.queued[k] {
			set(&t.queued, k, true)
			t.order = append(t.order, k)
		}
	}
	t.drop()
}

func (t *Table[K, R]) drop() {
	switch {
	case len(t.fresh) > 1000: // what a large unit took is given back
		t.own, t.fresh = nil, nil
	case len(t.fresh) > 0:
		t.fresh = t.fresh[:0]
		clear(t.own)
	}
}

// carry is the table as it stands after the commit.
func (t *Table[K, R]) carry() *Table[K, R] {
	for _, k := range t.order {
		set(&t.asked, k, true)
	}
	t.order = t.order[:0]
	clear(t.queued)
	return t
}

func (t *Table[K, R]) join(o *Table[K, R]) {
	for k, there := range o.asked {
		if _, ok := t.asked[k]; ok {
			continue
		}
		if set(&t.asked, k, there); there {
			set(&t.rows, k, o.rows[k])
		}
	}
}

// forgetChanged drops the rows that the group has changed, though not those that it made.
func (t *Table[K, R]) forgetChanged() {
	t.order = slices.DeleteFunc(t.order, func(k K) bool {
		changed := t.asked[k]
		if changed {
			delete(t.rows, k)
			delete(t.asked, k)
		}
		return changed
	})
}

// ask loads the row under k unless the group already has it.
func (t *Table[K, R]) ask(k K, load func() (R, error)) error {
	if _, ok := t.asked[k]; ok {
		return nil
	}
	r, err := load()
	if NotFound(err) {
		t.missing(k)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s %v: %w", t.name, k, err)
	}
	t.found(k, r)
	return nil
}

func (t *Table[K, R]) found(k K, r R) {
	if _, ok := t.asked[k]; !ok {
		set(&t.asked, k, true)
		set(&t.rows, k, r)
	}
}

// missing notes that a row was asked for, unless it was found.
func (t *Table[K, R]) missing(k K) {
	if _, ok := t.asked[k]; !ok {
		set(&t.asked, k, false)
	}
}

// set writes into a map that may not be there yet.
func set[K comparable, R any](m *map[K]R, k K, r R) {
	if *m == nil {
		*m = map[K]R{}
	}
	(*m)[k] = r
}
