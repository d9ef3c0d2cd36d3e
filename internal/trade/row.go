package trade

import (
	"strings"
	"time"

	"github.com/openinfinia/infinia/money"
)

// reading is a row while it is judged.
type reading struct {
	zone            *time.Location
	cells           [columnCount]string // in the order of columns
	row             Row
	quantity, price int64
	problems        []Problem
	bad             uint32 // bit i: column i is wrong
	broken          ruleID // a rule of the file that this row breaks
	cut             bool   // the row ends early; when no other follows, so does the file
}

// identified tells whether the row can be compared with others: its identity, currency and amount are sound.
func (r *reading) identified() bool {
	const needed = 1<<colSellerID | 1<<colOrderID | 1<<colSKU | 1<<colTime | 1<<colCurrency | 1<<colAmount
	return r.bad&needed == 0
}

func (r *reading) add(f finding) {
	f.line = int32(r.row.Line)
	r.problems = append(r.problems, f.problem())
}

// judge looks at one row by itself, at every cell. The reading is valid until the next.
func (c *checker) judge(rec record) *reading {
	r := &c.reading
	*r = reading{
		zone:     c.zone,
		row:      Row{Line: rec.line, Offset: rec.offset},
		problems: r.problems[:0],
	}
	if !c.readCells(rec, r) {
		r.bad = 1<<columnCount - 1
		return r
	}
	for i := range columns {
		wrong, fix := columns[i].cellProblem(r, r.cells[i])
		if wrong == "" {
			continue
		}
		r.bad |= 1 << i
		r.problems = append(r.problems, Problem{Line: rec.line, Column: columns[i].Name, Value: r.cells[i], Rule: wrong, Fix: fix})
	}
	if r.bad&(1<<colSellerID|1<<colCurrency) == 0 {
		r.row.SellerID, r.row.Currency = c.single(r.cells[colSellerID]), money.Currency(c.single(r.cells[colCurrency]))
	}
	if r.bad&(1<<colAmount|1<<colQuantity|1<<colUnitPrice) == 0 {
		sum, err := money.Mul(r.quantity, r.price)
		if err != nil || sum != r.row.Amount && sum != -r.row.Amount {
			r.add(finding{rule: rowProduct})
		}
	}
	if r.identified() {
		c.identify(r)
	}
	return r
}

// readCells decodes a record into the order of columns; false when it cannot be told which cell is which.
func (c *checker) readCells(rec record, r *reading) bool {
	text, ok := c.enc.decode(rec.raw)
	switch {
	case !ok:
		r.breakFile(fileUndecodable, c.enc)
		return false
	case strings.IndexByte(text, 0) >= 0:
		r.breakFile(fileNUL, c.enc)
		return false
	case rec.cells == nil:
		r.cut = rec.open
		r.add(finding{rule: rowQuotes})
		return false
	}
	cells, fit := c.header.cells(rec, c.enc)
	if !fit {
		r.cut = len(cells) < columnCount
		r.add(finding{rule: rowCells, other: int32(len(cells))})
		return false
	}
	for i, s := range cells {
		cell := ""
		if c.enc.name == "UTF-8" {
			cell = text[s.from:s.to]
		} else {
			cell, _ = c.enc.decode(rec.raw[s.from:s.to])
		}
		r.cells[c.header.columns[i]] = unquote(cell)
	}
	return true
}

// breakFile reports a fault of the whole file at the row where it shows.
func (r *reading) breakFile(rule ruleID, enc encoding) {
	r.broken = rule
	r.add(finding{rule: rule, other: int32(r.row.Line), name: enc.name})
}

func unquote(cell string) string {
	if cell == "" || cell[0] != '"' {
		return cell
	}
	return strings.ReplaceAll(cell[1:len(cell)-1], `""`, `"`)
}

// single returns one copy of equal texts, so that a row kept does not keep the whole record that its cells are part of.
func (c *checker) single(text string) string {
	one, ok := c.texts[text]
	if !ok {
		one = strings.Clone(text)
		c.texts[one] = one
	}
	return one
}
