package sample

import "strings"

// fault is a kind of wrong row. Each row that is made wrong has one, so that counts can be compared: what rejects it is told
// by one rule alone.
type fault struct {
	cell  int    // that is wrong
	name  string // what is wrong with it
	texts []string
	row   bool // it is the whole row's fault: what stands in the cell decides on the row
	cuts  bool // as the last row it would make the whole file look cut
	needs need

	// spoil, if set, does the damage to the row in place of one of the texts.
	spoil func(g *generator)
	// together, if set, makes a row that is wrong together with those of a sale, and counts them all.
	together func(g *generator, s sale)
}

// need is the shippingStatus of which a row must be to have a fault.
type need int

const (
	anyStatus need = iota
	shipped
	unshipped
)

func (f fault) column() string {
	if f.row {
		return ""
	}
	return columns[f.cell]
}

// Where faults stand that are counted for other rows than the one that was made wrong.
const (
	faultConflict = iota
	faultCurrency
	faultReturns
)

// faults are the kinds of wrong rows; texts are CSV.
var faults = []fault{
	faultConflict: {row: true, name: "another row has its identity and other content", together: (*generator).conflict},
	faultCurrency: {cell: colCurrency, name: "differs from other rows of the item", together: (*generator).changeCurrency},
	faultReturns:  {cell: colAmount, name: "returns exceed sales", together: (*generator).overReturn},

	{cell: colName, row: true, name: "a quote stands inside a value", texts: []string{`Screen 27" wide`, `"Screen 27" wide"`}, spoil: (*generator).breakQuotes},
	{cell: colName, row: true, name: "a quote is not closed", texts: []string{`"Desk lamp`, `"台灯`}, spoil: (*generator).breakQuotes, cuts: true},
	{cell: colAmount, row: true, name: "too many values", texts: []string{"1,234.50", "12,50"}},
	{row: true, name: "too few values", spoil: (*generator).drop, cuts: true},

	empty(colSellerID),
	{cell: colSellerID, name: "is too long", texts: long(64)},
	{cell: colSellerID, name: "has white space around it", texts: []string{" SELLER-1", "SELLER-1\t"}},
	empty(colOrderID),
	{cell: colOrderID, name: "is too long", texts: long(64)},
	{cell: colOrderID, name: "has white space around it", texts: []string{"PI-1001 ", "\u3000PI-1001"}},
	empty(colSKU),
	{cell: colSKU, name: "is too long", texts: long(32)},
	{cell: colSKU, name: "has a control character", texts: []string{"LAMP\t1", "LAMP\u00851"}},
	empty(colTime),
	{cell: colTime, name: "is not a time", texts: []string{"03/09/2025 14:05:00", "2025-9-3 14:05", "2025-02-30 10:00:00", "45903.587", "2025年9月3日"}},
	empty(colCurrency),
	{cell: colCurrency, name: "is not a currency", texts: []string{"RMB", "usd", "US$", "人民币"}},
	empty(colAmount),
	{cell: colAmount, name: "is zero", texts: []string{"0", "0.00", "-0.00"}},
	{cell: colAmount, name: "has thousands separators", texts: []string{`"1,234"`, "1 234.50", `"1.234,50"`, "1'234.50"}},
	{cell: colAmount, name: "is not a plain number", texts: []string{"1.5e3", "¥1200", "USD 12.00", "012.00", "+12.00", ".50", "free"}},
	{cell: colAmount, name: "has too many decimals", texts: []string{"12.345", "-0.001"}},
	{cell: colAmount, name: "has too many digits", texts: []string{"1234567890123.00"}},
	empty(colType),
	{cell: colType, name: "is too long", texts: []string{"LAMP", "0001"}},
	empty(colName),
	{cell: colName, name: "is too long", texts: long(128)},
	empty(colQuantity),
	{cell: colQuantity, name: "is not a whole number above zero", texts: []string{"0", "-3", "1.5", "two", "03", "二"}},
	{cell: colQuantity, name: "is too long", texts: []string{"12345678901234567"}},
	empty(colUnitPrice),
	{cell: colUnitPrice, name: "is below zero", texts: []string{"-5.00"}},
	{cell: colUnitPrice, name: "is not a plain number", texts: []string{"$5.00", "5.00 CNH", "n/a"}},
	{cell: colUnitPrice, name: "has too many decimals", texts: []string{"5.005"}},
	empty(colShipping),
	{cell: colShipping, name: "is neither of the two states", texts: []string{"shipped", "Sent", "已发货"}, needs: shipped},
	{cell: colEstimate, name: "is empty", texts: blank, needs: unshipped},
	{cell: colEstimate, name: "is not a time", texts: []string{"next week", "2025-09-30"}},
	{cell: colTrackingNo, name: "is empty", texts: blank, needs: shipped},
	{cell: colTrackingNo, name: "is too long", texts: long(64)},
	{cell: colCompany, name: "is empty", texts: blank, needs: shipped},
	{cell: colCompany, name: "is too long", texts: long(512)},
	{cell: colShippingTime, name: "is empty", texts: blank, needs: shipped},
	{cell: colShippingTime, name: "is not a time", texts: []string{"yesterday", "2025-09-03 25:00:00"}},
	empty(colCountry),
	{cell: colCountry, name: "is not a country", texts: []string{"US", "usa", "XXX", "China", "中国"}},
	empty(colURL),
	{cell: colURL, name: "is not an http or https address", texts: []string{"store.example.com/acme", "ftp://store.example.com", "https://", "https://store.example.com/a b"}},
	{cell: colURL, name: "is too long", texts: []string{"https://store.example.com/" + long(2048)[0]}},
	{cell: colBuyer, name: "is too long", texts: long(512)},
	{cell: colAddress, name: "is too long", texts: long(2048)},
}

var blank = []string{"", " "}

func empty(cell int) fault { return fault{cell: cell, name: "is empty", texts: blank} }

// long are texts of one character more than allowed.
func long(most int) []string {
	return []string{strings.Repeat("x", most+1), strings.Repeat("长", most+1)}
}

// faulty makes a row that is rejected.
func (g *generator) faulty() {
	n := g.draw(len(faults))
	for faults[n].cuts && g.rows == g.opt.Rows || faults[n].together != nil && len(g.sold) == 0 {
		n = g.draw(len(faults))
	}
	f := &faults[n]
	if f.together != nil {
		f.together(g, g.forget(g.draw(len(g.sold))))
		return
	}
	var s sale
	if g.draw(1000) < returnsOf1000 && len(g.sold) > 0 {
		// What is rejected returns nothing. No other fault may come to the same sale: it could be told of this row as well.
		s = g.forget(g.draw(len(g.sold)))
		s = g.returned(s, 1)
	} else {
		s = g.sell()
	}
	if f.needs != anyStatus {
		s.shipped = f.needs == shipped
	}
	g.write(&s)
	if f.spoil != nil {
		f.spoil(g)
	}
	if len(f.texts) > 0 {
		g.replace(f.cell, f.texts[g.draw(len(f.texts))])
	}
	g.reject(n, 1)
}

// reject counts rows that are rejected for a fault.
func (g *generator) reject(fault, rows int) {
	g.counts[fault] += rows
	g.owed -= rows
}

// conflict writes a sale again with another quantity. Neither counts, so that nothing is left that could be returned.
func (g *generator) conflict(s sale) {
	again := s
	again.quantity++
	g.write(&again)
	g.reject(faultConflict, s.sales+1)
	g.reject(faultReturns, s.returns)
	g.repeats -= s.sales - 1
}

// changeCurrency sells the same item in another currency, which rejects all rows of it.
func (g *generator) changeCurrency(s sale) {
	again := s
	again.at += hour
	again.currency = currency{"USD", true}
	if s.currency == again.currency {
		again.currency.code = "EUR"
	}
	g.write(&again)
	g.reject(faultCurrency, s.sales+s.returns+1)
	g.repeats -= s.sales - 1
}

// overReturn returns one more than is left, which rejects all returns of the item.
func (g *generator) overReturn(s sale) {
	back := g.returned(s, s.left+1)
	g.write(&back)
	g.reject(faultReturns, s.returns+1)
}

// breakQuotes makes place for a wrong quote. With one, a row is what stands on its first line; more lines would be more rows.
func (g *generator) breakQuotes() { g.replace(colAddress, "") }

// drop leaves the last cells out.
func (g *generator) drop() { g.row = g.row[:g.ends[colAddress-1-g.draw(8)]] }
