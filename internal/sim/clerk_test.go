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
