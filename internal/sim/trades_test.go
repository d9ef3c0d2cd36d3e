package sim

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// modelFile is the newest attempt of a trade file.
type modelFile struct {
	id                        int64
	app                       *modelApp
	requestNo                 string
	attempt                   int64
	state                     string
	digest, path              string
	lines                     []line
	broken                    bool // as a whole: its header
	total, accepted, rejected int64
}

// modelRow is a row that counts.
type modelRow struct {
	seller, order, sku, currency string
	at, amount                   int64
	shipped                      bool
	shipping                     string // its fields as text
}

// line is a row of a file: what it says, and how it is written.
type line struct {
	modelRow
	cells  []string
	fault  bool // a cell is wrong
	noName bool // one of those that make its identity
}

func (r *modelRow) item() string { return r.seller + " " + r.order + " " + r.sku }

func (r *modelRow) identity() string {
	kind := " sale"
	if r.amount < 0 {
		kind = " return"
	}
	return r.item() + " " + strconv.FormatInt(r.at, 10) + kind
}

// receive takes an upload: content that is known changes nothing, other content follows only on a failure.
func (m *model) receive(a *modelApp, requestNo, digest, path string, lines []line, broken bool) *modelFile {
	f := a.files[requestNo]
	switch {
	case f != nil && f.digest == digest:
		return f
	case f != nil && f.state != "FAILED":
		m.addTask("file-result/"+a.name, &modelTask{due: m.now, file: f})
		return f
	}
	next := &modelFile{app: a, requestNo: requestNo, attempt: 1, state: "PROCESSING", digest: digest, path: path, lines: lines, broken: broken}
	if f != nil {
		next.attempt = f.attempt + 1
	}
	a.files[requestNo] = next
	m.addTask("file/"+a.name, &modelTask{due: m.now, file: next})
	return next
}

// judge ends a file: every line is held against the contract, and either all count, or the sound ones, or none.
func (m *model) judge(f *modelFile) {
	lines := f.lines
	bad, repeat, update := make([]bool, len(lines)), make([]bool, len(lines)), make([]bool, len(lines))
	for i := range lines {
		l := &lines[i]
		bad[i] = l.fault || !f.app.seller(l.seller).everBound(l.currency)
	}
	named := func(i int) bool { return !lines[i].noName }
	names := make([]string, len(lines))
	for i := range lines {
		names[i] = lines[i].identity()
	}
	for i := range lines { // the same row twice in one file
		for j := range i {
			if named(i) && named(j) && names[i] == names[j] {
				if slices.Equal(lines[i].cells, lines[j].cells) {
					repeat[i] = true
				} else {
					bad[i], bad[j] = true, true
				}
			}
		}
	}
	filed := make([]*modelRow, len(lines))
	for i := range lines { // rows filed before
		if !named(i) {
			continue
		}
		l := &lines[i]
		if filed[i] = f.app.rows[l.identity()]; filed[i] != nil {
			switch was := filed[i]; {
			case was.currency != l.currency || was.amount != l.amount, l.amount > 0 && was.shipped && !l.shipped:
				bad[i] = true
			case l.amount > 0 && was.shipping != l.shipping:
				update[i] = true
			}
		}
	}
	booked, currencies := map[string][]*modelRow{}, map[string]map[string]bool{} // of an item
	for i := range lines {
		if !named(i) {
			continue
		}
		item := lines[i].item()
		if currencies[item] == nil {
			currencies[item] = map[string]bool{}
		}
		currencies[item][lines[i].currency] = true
		booked[item] = f.app.items[item]
		for _, r := range booked[item] { // an item has one currency
			if r.currency != lines[i].currency && filed[i] == nil {
				bad[i] = true
			}
		}
	}
	for i := range lines { // of which nothing is booked, the rows have to agree on one
		if named(i) && len(booked[lines[i].item()]) == 0 && len(currencies[lines[i].item()]) > 1 {
			bad[i] = true
		}
	}
	sums := map[string]int64{} // sales less returns, by item
	for i := range lines {
		if named(i) && !bad[i] && !repeat[i] && filed[i] == nil {
			sums[lines[i].item()] += lines[i].amount
		}
	}
	for item, rows := range booked {
		for _, r := range rows {
			sums[item] += r.amount
		}
	}
	for i := range lines {
		if named(i) && lines[i].amount < 0 && sums[lines[i].item()] < 0 {
			bad[i] = true
		}
	}
	f.total = int64(len(lines))
	for i := range lines {
		if bad[i] {
			f.rejected++
		}
	}
	f.accepted = f.total - f.rejected
	switch {
	case f.broken:
		f.state, f.accepted, f.rejected = "FAILED", 0, f.total
	case f.rejected > 0 && (!f.app.set.partial || f.accepted == 0):
		f.state, f.accepted = "FAILED", 0
	case f.rejected > 0:
		f.state = "PARTIAL"
	default:
		f.state = "SUCCESS"
	}
	if f.state != "FAILED" {
		var changed []*modelPurse
		for i := range lines {
			l := lines[i].modelRow
			switch {
			case bad[i] || repeat[i]:
				continue
			case update[i]:
				filed[i].shipped, filed[i].shipping = l.shipped, l.shipping
			case filed[i] == nil:
				f.app.rows[l.identity()] = &l
				f.app.items[l.item()] = append(f.app.items[l.item()], &l)
				p := f.app.purse(l.seller, l.currency)
				p.rows = append(p.rows, &l)
			}
			p := f.app.purse(l.seller, l.currency)
			m.touchedPurses = append(m.touchedPurses, touched{f.app, l.seller, l.currency})
			if !slices.Contains(changed, p) {
				changed = append(changed, p)
			}
		}
		for _, p := range changed {
			m.recount(p)
		}
	}
	m.addTask("file-result/"+f.app.name, &modelTask{due: m.now, file: f})
	m.notify(f.app, f.about(), "file", "")
}

// about is the seller whom a file tells of, if it tells of one in one currency.
func (f *modelFile) about() string {
	for _, l := range f.lines {
		if f.broken || l.seller != f.lines[0].seller || l.currency != f.lines[0].currency {
			return ""
		}
	}
	return f.lines[0].seller
}

// recount adds a seller's rows up anew: the returns of an item are taken off its shipped sales first.
func (m *model) recount(p *modelPurse) {
	type item struct{ shipped, unshipped, returned int64 }
	items := map[string]*item{}
	for _, r := range p.rows {
		it := items[r.item()]
		if it == nil {
			it = &item{}
			items[r.item()] = it
		}
		switch {
		case r.amount < 0:
			it.returned -= r.amount
		case r.shipped:
			it.shipped += r.amount
		default:
			it.unshipped += r.amount
		}
	}
	shipped, unshipped := int64(0), int64(0)
	for _, it := range items {
		fromShipped := min(it.returned, it.shipped)
		shipped += it.shipped - fromShipped
		unshipped += it.unshipped - (it.returned - fromShipped)
	}
	if shipped != p.shipped {
		m.postings++
	}
	if unshipped != p.unshipped {
		m.postings++
	}
	p.shipped, p.unshipped = shipped, unshipped
}

// clerk writes trade files.
type clerk struct {
	rng    *rand.Rand
	rows   int64 // written so far, for orders and times that are new
	recent map[*modelApp][]modelRow
}

var columns = strings.Split("sellerId,orderId,sku,transactionTime,transactionCurrency,transactionAmount,productType,productName,productQuantity,"+
	"productUnitPrice,shippingStatus,estimatedShippingTime,logisticsTrackingNo,logisticsCompany,shippingTime,country,storeUrl,buyerName,buyerAddress", ",")

// file writes rows of sellers; with faults, some are such as the contract refuses.
func (c *clerk) file(a *modelApp, sellers []string, rows int, faults bool) (text []byte, lines []line, broken bool) {
	broken = faults && c.rng.IntN(12) == 0
	for range rows {
		lines = append(lines, c.line(a, sellers[c.rng.IntN(len(sellers))], lines, faults))
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	header := slices.Clone(columns)
	if broken {
		header[c.rng.IntN(len(header))] = "colour"
	}
	for _, record := range append([][]string{header}, cellsOf(lines)...) {
		if err := w.Write(record); err != nil {
			panic(err)
		}
	}
	w.Flush()
	return b.Bytes(), lines, broken
}

func cellsOf(lines []line) (records [][]string) {
	for _, l := range lines {
		records = append(records, l.cells)
	}
	return records
}

// line is one row: a new sale, a return, a row filed before with or without changes, or a wrong one.
func (c *clerk) line(a *modelApp, seller string, before []line, faults bool) line {
	recent := c.recent[a]
	kind := c.rng.IntN(100)
	if faults && len(before) > 0 && kind < 16 { // this file's own rows again
		l := before[c.rng.IntN(len(before))]
		if kind < 8 {
			l.cells = slices.Clone(l.cells)
			l.cells[7] = "Lamp, the other one"
		}
		return l
	}
	var r modelRow
	switch {
	case kind < 60 || len(recent) == 0:
		r = c.sale(a, seller)
	default:
		r = recent[c.rng.IntN(len(recent))]
		switch {
		case kind < 75: // a return
			r.at = c.moment()
			r.amount = -(1 + c.rng.Int64N(max(1, abs(r.amount)/2)))
			if faults && c.rng.IntN(4) == 0 {
				r.amount *= 1000
			}
		case kind < 80: // another sale of the item
			r.at, r.amount = c.moment(), abs(r.amount)
		case kind < 92: // shipped meanwhile, or with another number
			r.shipped = true
		case faults && kind < 94:
			r.shipped = false
		case faults && kind < 96:
			r.amount *= 2
		case faults && kind < 98:
			r.currency = []string{"CNH", "USD", "JPY"}[c.rng.IntN(3)]
		}
	}
	l := line{modelRow: r}
	l.write(c, a)
	if faults && c.rng.IntN(10) == 0 {
		l.fault = true
		if c.rng.IntN(2) == 0 {
			l.cells[15] = "XXX"
		} else {
			l.cells[5], l.noName = "0.00", true
		}
	}
	return l
}

func (c *clerk) moment() int64 {
	c.rows++
	return 1_767_920_000_000 + c.rows*1000
}

func (c *clerk) sale(a *modelApp, seller string) modelRow {
	currencies := []string{"CNH", "USD", "JPY"}
	if len(a.set.currencies) > 0 {
		currencies = a.set.currencies
	}
	currency := currencies[c.rng.IntN(len(currencies))]
	for range 6 { // rather one that the seller is bound in
		if !a.seller(seller).everBound(currency) {
			currency = currencies[c.rng.IntN(len(currencies))]
		}
	}
	r := modelRow{seller: seller, at: c.moment(), currency: currency, amount: 1 + c.rng.Int64N(200_000), shipped: c.rng.IntN(3) > 0}
	r.order, r.sku = fmt.Sprintf("O-%d", c.rows), fmt.Sprintf("K-%d", c.rng.IntN(5))
	recent := append(c.recent[a], r)
	if len(recent) > 60 {
		recent = recent[1:]
	}
	c.recent[a] = recent
	return r
}

// write puts a row into cells; times and amounts in any of the forms that mean the same.
func (l *line) write(c *clerk, a *modelApp) {
	at := time.UnixMilli(l.at)
	when := at.In(a.zone).Format(time.DateTime)
	switch c.rng.IntN(4) {
	case 0:
		when = at.UTC().Format(time.RFC3339)
	case 1:
		when = strconv.FormatInt(l.at, 10)
	}
	amount := decimal(l.amount, l.currency)
	if l.currency == "JPY" && c.rng.IntN(2) == 0 {
		amount += ".00"
	}
	price := decimal(abs(l.amount), l.currency)
	if c.rng.IntN(20) == 0 {
		price = "1"
	}
	l.cells = []string{l.seller, l.order, l.sku, when, l.currency, amount, "001", "Lamp", "1", price, "Not Shipped", "2026-12-01 10:00:00", "", "", "",
		"USA", "https://store.example.com/" + l.seller, "", "Long Street 1, \"Old House\""}
	if l.shipped {
		copy(l.cells[10:], []string{"Shipped", "", "T-" + strconv.Itoa(c.rng.IntN(3)), "SF", "2026-02-02 10:00:00"})
	}
	l.shipping = strings.Join(l.cells[10:15], "|")
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
