package trade

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openinfinia/infinia/money"
)

// reading is a row while it is judged.
type reading struct {
	zone            *time.Location
	cells           [columnCount]string // in the order of columns
	row             Row
	quantity, price int64
	shipping        string  // as it is read or mended, which says what else must be there
	binding         Binding // as it is read or mended; empty where either is not known
	problems        []Problem
	bad             uint32 // bit i: column i is wrong
	broken          ruleID // a rule of the file that this row breaks
	brokenLine      int    // where
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
		rule, f := r.cellProblem(i)
		as := f.mend
		if f.wrong == "" {
			as = r.cells[i]
		}
		switch i {
		case colSellerID:
			r.binding.SellerID = c.single(as)
		case colCurrency:
			r.binding.Currency = money.Currency(c.single(as))
		}
		if f.wrong == "" {
			continue
		}
		if f.mend != "" && !c.enc.canWrite(f.mend) {
			f.mend = ""
		}
		r.bad |= 1 << i
		r.problems = append(r.problems, Problem{Rule: columns[i].Name + rule, Line: rec.line, Column: columns[i].Name, Value: r.cells[i], Wrong: f.wrong, Fix: f.fix, Mend: f.mend})
	}
	if r.bad&(1<<colSellerID|1<<colCurrency) == 0 {
		r.row.SellerID, r.row.Currency = r.binding.SellerID, r.binding.Currency
	}
	if r.binding.SellerID == "" || r.binding.Currency == "" {
		r.binding = Binding{}
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
	case !ok && len(rec.end) == 0 && c.enc.endsInHalf(rec.raw):
		r.cut = true
		r.add(finding{rule: rowHalf})
		return false
	case !ok:
		at := place(text, c.enc.firstWrong(text), rec.line)
		r.broken, r.brokenLine = fileUndecodable, at.line
		r.add(finding{rule: rowUndecodable, name: c.enc.name + " text (" + at.String() + ")"})
		return false
	case strings.IndexByte(text, 0) >= 0:
		at := place(text, strings.IndexByte(text, 0), rec.line)
		r.broken, r.brokenLine = fileNUL, at.line
		r.add(finding{rule: rowNUL, name: at.String()})
		return false
	case rec.cells == nil:
		r.cut = rec.open
		at := place(text, wrongQuote(text), rec.line)
		name := at.String()
		if at.line == rec.line {
			name = fmt.Sprintf("character %d", at.character)
		}
		r.add(finding{rule: rowQuotes, name: name})
		return false
	}
	cells, fit := c.header.cells(rec, c.enc)
	if !fit {
		r.cut = len(cells) < columnCount
		r.add(c.misfit(rec, cells, text))
		return false
	}
	if column := c.header.filled(rec, c.enc); column > 0 {
		r.add(finding{rule: rowUnnamed, other: int32(column)})
		return false
	}
	for i, s := range cells[:columnCount] {
		cell := ""
		if c.enc.name == "UTF-8" {
			cell = text[s.from:s.to]
		} else {
			cell, _ = c.enc.decode(rec.raw[s.from:s.to])
		}
		r.cells[c.header.columns[i]] = unquote(cell)
	}
	if strings.EqualFold(r.cells[colSellerID], columns[colSellerID].Name) && strings.EqualFold(r.cells[colOrderID], columns[colOrderID].Name) {
		r.add(finding{rule: rowHeader})
		return false
	}
	return true
}

// misfit is what is wrong with a row that has too few or too many cells.
func (c *checker) misfit(rec record, cells []span, text string) finding {
	width := c.header.width
	if !c.header.extraLast {
		width = c.header.size
	}
	lastIsEmpty := len(cells) > 0 && c.enc.blank(rec.raw[cells[len(cells)-1].from:cells[len(cells)-1].to])
	switch {
	case strings.ContainsRune(text, '\r'):
		return finding{rule: rowLineEnd}
	case len(cells) == width+1 && lastIsEmpty:
		return finding{rule: rowComma, name: "more"}
	case len(cells) == width-1 && len(c.header.unnamed) > 0:
		return finding{rule: rowComma, name: "less"}
	}
	return finding{rule: rowCells, other: int32(len(cells)), name: strconv.Itoa(width)}
}

// position is where in a file something stands, as an editor counts from 1.
type position struct{ line, character int }

func (p position) String() string { return fmt.Sprintf("line %d, character %d", p.line, p.character) }

// place is where byte i of the text of a record stands.
func place(text string, i, line int) position {
	before := text[:i]
	line += encoding{unit: 1}.lineEnds([]byte(before))
	before = before[strings.LastIndexAny(before, "\r\n")+1:]
	return position{line, utf8.RuneCountInString(before) + 1}
}

// wrongQuote finds the quote, in a record that has a wrong one, that is not closed or stands inside a value.
func wrongQuote(text string) int {
	wrong := 0
	for i := 0; i < len(text); i++ {
		if strings.HasPrefix(text[i:], `="`) {
			i++
		}
		start := i
		if text[i] != '"' {
			if i = strings.IndexAny(text[start:], `,"`) + start; i < start {
				break
			}
			if wrong = i; text[i] == ',' {
				continue
			}
			break
		}
		for wrong, i = start, i+1; i < len(text) && (text[i] != '"' || strings.HasPrefix(text[i:], `""`)); i++ {
			if text[i] == '"' {
				i++
			}
		}
		if i < len(text) {
			wrong = i
		}
		if i++; i >= len(text) || text[i] != ',' {
			break
		}
	}
	return wrong
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
