package sim

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// model is what the books must say, in plain maps and integers. It is written from the contract: it does not know how the
// engine keeps anything, and imports nothing of it. Ids of records are the engine's; here they are only names.
type model struct {
	now      int64 // milliseconds
	apps     []*modelApp
	acts     map[string]*modelAct // operators' acts by reference
	deposits []*modelDeposit
	paid     map[string]bool         // deposits by currency and the bank's reference
	tasks    map[string][]*modelTask // by queue
	postings int64

	// What the present step has touched, to be compared when it is over.
	touchedShares     []*modelShare
	touchedBindings   []*modelBinding
	touchedDeliveries []*modelDelivery
	touchedPurses     []touched
}

type touched struct {
	app              *modelApp
	seller, currency string
}

// modelSettings is what an operator sets for an app; the limits are minor units by currency.
type modelSettings struct {
	zone                                    string
	cap                                     int64
	ignoreUnshipped, partial, autoApprove   bool
	linkMinutes, confirmDays, delay         int64
	currencies                              []string
	limitShare, limitSellerDay, limitAppDay map[string]int64
	callback                                string
	events                                  []string
}

type modelApp struct {
	name       string
	set        modelSettings
	zone       *time.Location
	sellers    map[string]*modelSeller
	requests   map[string]*modelRequest // by operation and requestNo
	platform   map[string]*modelPurse   // by currency
	paidIn     map[string]int64         // deposits less reversals, by currency
	accepted   map[string]int64         // shares held and settled: by currency and day, and by currency, day and seller
	files      map[string]*modelFile    // the newest attempt, by requestNo
	received   []*modelFile             // every attempt
	results    map[string]*modelFile    // what the app finds, by name
	rows       map[string]*modelRow     // booked, by identity
	items      map[string][]*modelRow   // booked, by seller, order and sku
	deliveries []*modelDelivery
	bindings   []*modelBinding
	shares     []*modelShare
}

func newModelApp(name string, set modelSettings) *modelApp {
	a := &modelApp{name: name, set: set, sellers: map[string]*modelSeller{}, requests: map[string]*modelRequest{}, platform: map[string]*modelPurse{},
		paidIn: map[string]int64{}, accepted: map[string]int64{}, files: map[string]*modelFile{}, results: map[string]*modelFile{}, rows: map[string]*modelRow{}, items: map[string][]*modelRow{}}
	switch set.zone {
	case "":
		a.zone = time.FixedZone("", 8*3600)
	case "-03:30":
		a.zone = time.FixedZone("", -(3*3600 + 1800))
	default:
		var err error
		if a.zone, err = time.LoadLocation(set.zone); err != nil {
			panic(err)
		}
	}
	return a
}

// modelPurse is a platform's account, or a seller's accounts in one currency.
type modelPurse struct {
	balance, held      int64 // the platform's
	received, used     int64 // the seller's; held is then what shares in process reserve
	shipped, unshipped int64
	rows               []*modelRow
}

type modelSeller struct {
	status   string
	bindings []*modelBinding // oldest first
	purses   map[string]*modelPurse
	events   []*modelDelivery // status events, oldest first
}

type modelRequest struct {
	fields  map[string]string
	code    string // of a refusal
	share   *modelShare
	binding *modelBinding
}

type modelBinding struct {
	id                                int64
	app                               *modelApp
	seller, currency, requestNo, cert string
	state, link                       string
	linkDead                          bool
	linkUntil, confirmBy              int64
	once                              bool // it is or was SUCCESS
}

type modelShare struct {
	id                          int64
	app                         *modelApp
	requestNo, seller, currency string
	amount                      int64
	state, failCode, day        string
	binding                     *modelBinding
	finished                    int64
}

type modelDeposit struct {
	id                  int64
	app                 *modelApp
	currency, reference string
	amount              int64
	reversed            bool
}

type modelDelivery struct {
	id              int64
	number          int // how many the app was given before
	app             *modelApp
	seller, event   string
	status          string // of the seller, in a status event
	state           string
	attempts, dueAt int64
}

type modelTask struct {
	due      int64
	share    *modelShare
	binding  *modelBinding
	delivery *modelDelivery
	file     *modelFile
}

func (t *modelTask) record() int64 {
	switch {
	case t.share != nil:
		return t.share.id
	case t.binding != nil:
		return t.binding.id
	case t.delivery != nil:
		return t.delivery.id
	}
	return t.file.id
}

type modelAct struct{ content, answer string } // the answer as it was given

// answer is the outcome of a call: a code, and what of the reply can be foretold.
type answer struct{ code, text string }

func (a answer) String() string { return strings.TrimSpace(a.code + " " + a.text) }

const done = "SUC-200"

var digits = map[string]int{"CNH": 2, "USD": 2, "JPY": 0}

// minor reads a decimal amount that is known to be sound.
func minor(text, currency string) int64 {
	whole, part, _ := strings.Cut(text, ".")
	part = (part + "00")[:digits[currency]]
	n, err := strconv.ParseInt(whole+part, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func decimal(n int64, currency string) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	text, d := strconv.FormatInt(n, 10), digits[currency]
	if d == 0 {
		return sign + text
	}
	for len(text) <= d {
		text = "0" + text
	}
	return sign + text[:len(text)-d] + "." + text[len(text)-d:]
}

func (a *modelApp) purse(seller, currency string) *modelPurse {
	purses := a.platform
	if seller != "" {
		purses = a.seller(seller).purses
	}
	if purses[currency] == nil {
		purses[currency] = &modelPurse{}
	}
	return purses[currency]
}

// seller is somebody whom the app has named; unknown ones have no status.
func (a *modelApp) seller(id string) *modelSeller {
	if a.sellers[id] == nil {
		a.sellers[id] = &modelSeller{purses: map[string]*modelPurse{}}
	}
	return a.sellers[id]
}

func (a *modelApp) usable(currency string) bool {
	return len(a.set.currencies) == 0 || slices.Contains(a.set.currencies, currency)
}

func (s *modelSeller) bound(currency string) *modelBinding {
	for _, b := range s.bindings {
		if b.currency == currency && b.state == "SUCCESS" {
			return b
		}
	}
	return nil
}

func (s *modelSeller) everBound(currency string) bool {
	return slices.ContainsFunc(s.bindings, func(b *modelBinding) bool { return b.currency == currency && b.once })
}

func (s *modelSeller) boundUnderOther(cert string) bool {
	return slices.ContainsFunc(s.bindings, func(b *modelBinding) bool { return b.state == "SUCCESS" && b.cert != cert })
}

// again answers a requestNo that is known; ok says whether it is.
func (m *model) again(a *modelApp, op string, f map[string]string) (r *modelRequest, ans answer, ok bool) {
	r, known := a.requests[op+" "+f["requestNo"]]
	if !known {
		return &modelRequest{fields: f}, answer{}, false
	}
	var differ []string
	for name := range r.fields {
		if canonical(r.fields, name) != canonical(f, name) {
			differ = append(differ, name)
		}
	}
	for name := range f {
		if _, both := r.fields[name]; !both {
			differ = append(differ, name)
		}
	}
	if len(differ) > 0 {
		slices.Sort(differ)
		return r, answer{"BIZ-001", strings.Join(differ, ",")}, true
	}
	if r.code != "" {
		return r, answer{code: r.code}, true
	}
	return r, answer{}, true
}

func canonical(f map[string]string, name string) string {
	if name == "amount" {
		return decimal(minor(f[name], f["currency"]), f["currency"])
	}
	return f[name]
}

// share is Revenue Sharing.
func (m *model) share(a *modelApp, f map[string]string) answer {
	r, ans, known := m.again(a, shareOp, f)
	if known && ans.code != "" {
		return ans
	}
	if !known {
		a.requests[shareOp+" "+f["requestNo"]] = r
		if r.code = m.judgeShare(a, f); r.code != "" {
			m.touchedPurses = append(m.touchedPurses, touched{a, f["sellerId"], f["currency"]})
			return answer{code: r.code}
		}
		r.share = m.hold(a, f)
	}
	m.touch(r.share)
	return answer{done, shareText(r.share)}
}

func shareText(s *modelShare) string {
	status := map[string]string{"HELD": "PROCESSING", "SETTLED": "SUCCESS", "RELEASED": "FAILED"}[s.state]
	return strings.Join([]string{s.requestNo, s.seller, s.currency, decimal(s.amount, s.currency), status}, " ")
}

// judgeShare is the first refusal that applies, in the contract's order.
func (m *model) judgeShare(a *modelApp, f map[string]string) string {
	currency, amount, s := f["currency"], minor(f["amount"], f["currency"]), a.seller(f["sellerId"])
	over := func(limits map[string]int64, soFar int64) bool {
		limit, ok := limits[currency]
		return ok && soFar+amount > limit
	}
	day := a.day(m.now)
	_, _, _, _, available, _ := a.entitled(f["sellerId"], currency)
	platform := a.purse("", currency)
	switch {
	case !a.usable(currency):
		return "BIZ-007"
	case s.bound(currency) == nil:
		return "BIZ-003"
	case s.status == "FROZEN":
		return "BIZ-004"
	case over(a.set.limitShare, 0), over(a.set.limitSellerDay, a.accepted[currency+" "+day+" "+f["sellerId"]]), over(a.set.limitAppDay, a.accepted[currency+" "+day]):
		return "BIZ-010"
	case amount > available:
		return "BIZ-005"
	case amount > platform.balance-platform.held:
		return "BIZ-006"
	}
	return ""
}

func (a *modelApp) day(at int64) string { return time.UnixMilli(at).In(a.zone).Format(time.DateOnly) }

// entitled is what a seller may receive, and how it comes about.
func (a *modelApp) entitled(seller, currency string) (trade, allowed, shared, processing, available, over int64) {
	p := a.purse(seller, currency)
	trade = p.shipped
	if !a.set.ignoreUnshipped {
		trade += p.unshipped
	}
	allowed = trade * a.set.cap / 10000 // a trade sum is never below zero
	left := allowed - p.used - p.held
	return trade, allowed, p.used, p.held, max(left, 0), max(-left, 0)
}

func (m *model) hold(a *modelApp, f map[string]string) *modelShare {
	s := &modelShare{app: a, requestNo: f["requestNo"], seller: f["sellerId"], currency: f["currency"], amount: minor(f["amount"], f["currency"]),
		state: "HELD", day: a.day(m.now), binding: a.seller(f["sellerId"]).bound(f["currency"])}
	a.shares = append(a.shares, s)
	a.purse("", s.currency).held += s.amount
	a.purse(s.seller, s.currency).held += s.amount
	s.count(s.amount)
	m.addTask("settle", &modelTask{due: m.now + a.set.delay, share: s})
	return s
}

func (s *modelShare) count(amount int64) {
	s.app.accepted[s.currency+" "+s.day] += amount
	s.app.accepted[s.currency+" "+s.day+" "+s.seller] += amount
}

// settle ends a share, once.
func (m *model) settle(s *modelShare) {
	m.touch(s)
	if s.state != "HELD" {
		return
	}
	platform, seller := s.app.purse("", s.currency), s.app.purse(s.seller, s.currency)
	platform.held -= s.amount
	seller.held -= s.amount
	s.finished = m.now
	switch {
	case s.app.seller(s.seller).status == "FROZEN":
		s.failCode = "BIZ-004"
	case s.binding.state != "SUCCESS":
		s.failCode = "BIZ-003"
	}
	if s.failCode != "" {
		s.state = "RELEASED"
		s.count(-s.amount)
	} else {
		s.state = "SETTLED"
		platform.balance -= s.amount
		seller.received += s.amount
		seller.used += s.amount
		m.postings += 2
	}
	m.notify(s.app, s.seller, "share", "")
}

func (m *model) touch(s *modelShare) {
	m.touchedShares = append(m.touchedShares, s)
	m.touchedPurses = append(m.touchedPurses, touched{s.app, s.seller, s.currency})
}

// act holds an operator's act against those before it under the same reference, and says which status it gets. One that is
// repeated gets the answer of the first; one that is refused leaves its reference free.
func (m *model) act(reference, content string, do func() int) (status int, repeated bool) {
	if was, ok := m.acts[reference]; ok {
		if was.content != content {
			return 409, false
		}
		return 200, true
	}
	status = do()
	if status == 200 {
		m.acts[reference] = &modelAct{content: content}
	}
	return status, false
}

func (m *model) deposit(a *modelApp, currency, reference string, amount int64) (*modelDeposit, bool) {
	if m.paid[currency+" "+reference] {
		return nil, false
	}
	m.paid[currency+" "+reference] = true
	d := &modelDeposit{app: a, currency: currency, reference: reference, amount: amount}
	m.deposits = append(m.deposits, d)
	m.pay(d, amount)
	return d, true
}

func (m *model) reverse(d *modelDeposit) bool {
	p := d.app.purse("", d.currency)
	if d.reversed || p.balance-p.held < d.amount {
		return false
	}
	d.reversed = true
	m.pay(d, -d.amount)
	return true
}

func (m *model) pay(d *modelDeposit, amount int64) {
	d.app.purse("", d.currency).balance += amount
	d.app.paidIn[d.currency] += amount
	m.postings++
	m.touchedPurses = append(m.touchedPurses, touched{d.app, "", d.currency})
}
