package trade

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openinfinia/infinia/money"
)

// rowState is what is known of a row when rows are judged together.
type rowState uint8

const (
	stateWrong  rowState = 1 << iota // it has an error
	stateRepeat                      // the file has the same row before
	stateFiled                       // an earlier file booked it
)

// identify hashes what a row is compared by. The hashes are stored with booked rows: they must never change. Nobody makes two
// items with one hash by chance, and on purpose only at the cost of 2^64 tries, to confuse their own books.
func (c *checker) identify(r *reading) {
	r.row.Item = c.hash(r.cells[colSellerID], r.cells[colOrderID], r.cells[colSKU])
	shipping := c.hash(r.cells[colShipping : colShippingTime+1]...)
	r.row.ShipDetail = int64(binary.BigEndian.Uint64(shipping[:]))

	var h maphash.Hash
	h.SetSeed(c.seed)
	for _, cell := range r.cells {
		h.WriteString(cell)
		h.WriteByte(0) // no sound cell has one
	}
	r.row.content = h.Sum64()
}

// hash is the first half of SHA-256 over the parts, each after its length.
func (c *checker) hash(parts ...string) [16]byte {
	c.bytes = c.bytes[:0]
	for _, p := range parts {
		c.bytes = binary.AppendUvarint(c.bytes, uint64(len(p)))
		c.bytes = append(c.bytes, p...)
	}
	sum := sha256.Sum256(c.bytes)
	return [16]byte(sum[:16])
}

// judgeTogether compares the rows of the file with each other and with what is booked, item by item, several buckets at once.
func (c *checker) judgeTogether(res *Result) error {
	benches := make([]bench, workers())
	var next atomic.Int32
	var judging sync.WaitGroup
	for i := range benches {
		b := &benches[i]
		b.checker, b.spool, b.parts = c, res.spool, make([]Part, len(res.spool.parts))
		judging.Go(func() {
			for n := int(next.Add(1)) - 1; n < len(res.spool.buckets) && b.err == nil; n = int(next.Add(1)) - 1 {
				b.err = guard(func() error { return b.judgeBucket(n) })
			}
		})
	}
	judging.Wait()
	for i := range benches {
		b := &benches[i]
		if b.err != nil {
			return b.err
		}
		res.findings = append(res.findings, b.findings...)
		res.Rejected, res.Repeats, res.Fresh, res.Updates = res.Rejected+b.rejected, res.Repeats+b.repeats, res.Fresh+b.fresh, res.Updates+b.updates
		for n, p := range b.parts {
			to := &res.spool.parts[n]
			to.Accepted += p.Accepted
			var err error
			if to.Shipped, err = money.Add(to.Shipped, p.Shipped); err == nil {
				to.Unshipped, err = money.Add(to.Unshipped, p.Unshipped)
			}
			res.overflow = res.overflow || err != nil
		}
		res.overflow = res.overflow || b.overflow
	}
	slices.SortStableFunc(res.findings, func(a, b finding) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.rule, b.rule)) })
	return nil
}

// bench judges rows together, and adds up what becomes of them.
type bench struct {
	checker  *checker
	spool    *spool
	rows     []Row
	findings []finding
	parts    []Part // what this bench adds to those of the file
	err      error

	rejected, repeats, fresh, updates int
	overflow                          bool
}

// judgeBucket leaves in the bucket only what an importer has to write.
func (b *bench) judgeBucket(bucket int) (err error) {
	began := time.Now()
	defer func() { b.checker.rest(time.Since(began)) }()
	if b.rows, err = b.spool.rows(bucket, b.rows); err != nil || len(b.rows) == 0 {
		return err
	}
	slices.SortFunc(b.rows, func(x, y Row) int {
		if c := bytes.Compare(x.Item[:], y.Item[:]); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(x.At, y.At), -cmp.Compare(sign(x.Amount), sign(y.Amount)), cmp.Compare(x.Line, y.Line))
	})
	booked := bookedRows{find: b.checker.known.Booked, last: b.rows[len(b.rows)-1].Item, most: bookedLeast, more: b.checker.known.Booked != nil}
	kept := b.rows[:0]
	for rest := b.rows; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Item == rest[0].Item {
			n++
		}
		there, err := booked.of(rest[0].Item)
		if err != nil {
			return fmt.Errorf("rows filed before: %w", err)
		}
		kept = append(kept, b.judgeItem(rest[:n], there)...)
		rest = rest[n:]
	}
	return b.spool.replace(bucket, kept)
}

func sign(amount int64) int { return cmp.Compare(amount, 0) }

// judgeItem judges all rows of one seller, order and sku, and returns those that are to be written, in the same space.
func (b *bench) judgeItem(rows []Row, booked []Booked) []Row {
	for rest := rows; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].At == rest[0].At && sign(rest[n].Amount) == sign(rest[0].Amount) {
			n++
		}
		b.judgeRepeats(rest[:n])
		for i := range booked {
			if booked[i].At == rest[0].At && sign(booked[i].Amount) == sign(rest[0].Amount) {
				b.judgePrior(rest[:n], booked[i])
			}
		}
		rest = rest[n:]
	}
	var before itemBooks
	for _, f := range booked {
		if err := before.add(f.Amount, f.Shipped); err != nil {
			b.overflow = true // of what is booked: it cannot be
		}
	}
	b.judgeCurrency(rows, booked)
	b.judgeReturns(rows, booked, before)

	after, kept := before, rows[:0]
	for _, row := range rows {
		if row.state&stateWrong != 0 {
			b.rejected++
			continue
		}
		b.parts[row.part].Accepted++
		switch {
		case row.state&stateRepeat != 0, row.state&stateFiled != 0 && !row.Update:
			b.repeats++
			continue
		case row.Update:
			b.updates++
			after.ship(row, booked)
		default:
			b.fresh++
			b.overflow = after.add(row.Amount, row.Shipped) != nil || b.overflow
		}
		kept = append(kept, row)
	}
	if len(kept) > 0 {
		b.change(kept[0].part, before.net(), after.net())
	}
	return kept
}

// change adds what the books of an item become to what its owner has filed.
func (b *bench) change(part int32, was, is filed) {
	p := &b.parts[part]
	var err error
	if p.Shipped, err = money.Add(p.Shipped, is.shipped-was.shipped); err == nil {
		p.Unshipped, err = money.Add(p.Unshipped, is.unshipped-was.unshipped)
	}
	b.overflow = b.overflow || err != nil
}

// itemBooks is what is booked for one seller, order and sku, in minor units.
type itemBooks struct{ shipped, unshipped, returns int64 }

// filed is what counts as filed, in minor units.
type filed struct{ shipped, unshipped int64 }

// net takes returns off shipped sales first, then off unshipped ones.
func (b itemBooks) net() filed {
	shipped := b.shipped - b.returns
	if shipped >= 0 {
		return filed{shipped, b.unshipped}
	}
	return filed{0, b.unshipped + shipped}
}

func (b *itemBooks) add(amount int64, shipped bool) (err error) {
	switch {
	case amount < 0:
		b.returns, err = money.Sub(b.returns, amount)
	case shipped:
		b.shipped, err = money.Add(b.shipped, amount)
	default:
		b.unshipped, err = money.Add(b.unshipped, amount)
	}
	return err
}

// ship moves a booked sale that has been shipped meanwhile.
func (b *itemBooks) ship(row Row, booked []Booked) {
	for _, f := range booked {
		if f.At == row.At && f.Amount == row.Amount && !f.Shipped && row.Shipped {
			b.unshipped -= row.Amount
			b.shipped += row.Amount
		}
	}
}

// bookedRows reads the booked rows of ascending items. Where the file and the books have many items between the same two,
// that takes few questions; where the books have far more than the file, or the file than the books, few rows are read.
type bookedRows struct {
	find func(first, last [16]byte, most int) ([]Booked, bool, error)
	last [16]byte
	rows []Booked // not yet passed
	more bool     // there may be others after them
	most int      // to read at once: twice as many after a page was of use
	used bool     // something of this page was
}

const (
	bookedLeast = 16
	bookedMost  = 2048
)

func (b *bookedRows) of(item [16]byte) ([]Booked, error) {
	for {
		n := 0
		for n < len(b.rows) && bytes.Compare(b.rows[n].Item[:], item[:]) < 0 {
			n++
		}
		b.rows = b.rows[n:]
		if len(b.rows) > 0 || !b.more {
			break
		}
		if b.used {
			b.most = min(2*b.most, bookedMost)
		} else {
			b.most = max(b.most/2, bookedLeast)
		}
		b.used = false
		var err error
		if b.rows, b.more, err = b.find(item, b.last, b.most); err != nil {
			return nil, err
		}
	}
	n := 0
	for n < len(b.rows) && b.rows[n].Item == item {
		n++
	}
	b.used = b.used || n > 0
	found := b.rows[:n]
	b.rows = b.rows[n:]
	return found, nil
}

func (b *bench) find(row *Row, f finding) {
	f.line = int32(row.Line)
	b.findings = append(b.findings, f)
	if !rules[f.rule].Warning {
		row.state |= stateWrong
	}
}

// judgeRepeats looks at rows of one identity: the same content again is a warning, other content an error on every one.
func (b *bench) judgeRepeats(rows []Row) {
	first := &rows[0]
	var other *Row // the first row that differs from the first
	for i := range rows {
		if rows[i].content != first.content {
			other = &rows[i]
			break
		}
	}
	for n := range rows {
		row := &rows[n]
		switch {
		case other != nil && row.content == first.content:
			b.find(row, finding{rule: rowConflict, other: int32(other.Line)})
		case other != nil:
			b.find(row, finding{rule: rowConflict, other: int32(first.Line)})
		case n > 0:
			row.state |= stateRepeat
			b.find(row, finding{rule: rowRepeat, other: int32(first.Line)})
		}
	}
}

// judgePrior compares rows of one identity with the booked one.
func (b *bench) judgePrior(rows []Row, prior Booked) {
	for i := range rows {
		row := &rows[i]
		row.state |= stateFiled
		there := finding{other: int32(prior.Line), name: prior.FileRequestNo}
		switch {
		case prior.Currency != row.Currency || prior.Amount != row.Amount:
			there.rule = rowFiled
			b.find(row, there)
		case row.Amount > 0 && prior.Shipped && !row.Shipped:
			there.rule = rowUnshipped
			b.find(row, there)
		case row.Amount > 0 && prior.ShipDetail != row.ShipDetail:
			row.Update = true
		}
	}
}

// judgeCurrency takes the currency that is booked, or else wants all rows of the item to agree.
func (b *bench) judgeCurrency(rows []Row, booked []Booked) {
	// The lines that a finding names are the first of the file.
	first := &rows[0]
	for i := range rows {
		if rows[i].Line < first.Line {
			first = &rows[i]
		}
	}
	var other *Row
	for i := range rows {
		if row := &rows[i]; row.Currency != first.Currency && (other == nil || row.Line < other.Line) {
			other = row
		}
	}
	for i := range rows {
		row := &rows[i]
		switch {
		case len(booked) > 0 && row.Currency != booked[0].Currency && row.state&stateFiled == 0:
			b.find(row, finding{rule: rowCurrencyFiled, name: fmt.Sprintf("%s (%s)", booked[0].Currency, booked[0].place())})
		case len(booked) > 0 || other == nil:
		case row.Currency == first.Currency:
			b.find(row, finding{rule: rowCurrency, other: int32(other.Line)})
		default:
			b.find(row, finding{rule: rowCurrency, other: int32(first.Line)})
		}
	}
}

// judgeReturns adds what is booked and the sound rows of the file. What is wrong with the sum is wrong with every return of
// the item, because nobody can tell which one is too much. Where nobody knows what is booked, the sales may be in an earlier
// file.
func (b *bench) judgeReturns(rows []Row, booked []Booked, before itemBooks) {
	sales, err := money.Add(before.shipped, before.unshipped)
	returns, fits := before.returns, err == nil
	for i := range rows {
		row := &rows[i]
		if row.state != 0 { // wrong, a repeat, or booked already
			continue
		}
		side, amount := &sales, row.Amount
		if amount < 0 {
			side, amount = &returns, -amount
		}
		total, err := money.Add(*side, amount)
		if err != nil {
			fits = false
			break
		}
		*side = total
	}
	var tooMuch finding
	if fits && returns > sales {
		tooMuch = b.tooMuch(rows, booked, returns, sales)
	}
	for i := range rows {
		row := &rows[i]
		switch {
		case !fits:
			b.find(row, finding{rule: rowSum})
		case row.Amount < 0 && returns > sales:
			b.find(row, tooMuch)
		}
	}
}

// tooMuch tells what the returns of an item and its sales add up to, and where they are.
func (b *bench) tooMuch(rows []Row, booked []Booked, returns, sales int64) finding {
	var currency money.Currency
	side := func(sum int64, of int) string {
		count, place, line := 0, "", 0
		for i := range booked {
			if f := &booked[i]; sign(f.Amount) == of {
				if count++; place == "" {
					currency, place = f.Currency, f.place()
				}
			}
		}
		for i := range rows {
			if row := &rows[i]; row.state == 0 && sign(row.Amount) == of {
				if count++; line == 0 || row.Line < line {
					currency, line = row.Currency, row.Line
					place = fmt.Sprintf("line %d", line)
				}
			}
		}
		if count > 1 {
			place = fmt.Sprintf("%s and %d more", place, count-1)
		}
		return fmt.Sprintf("%s (%s)", money.Amount{Minor: sum, Currency: currency}, place)
	}
	wrong := 0
	for i := range rows {
		if row := &rows[i]; row.state&stateWrong != 0 && row.Amount > 0 && (wrong == 0 || row.Line < wrong) {
			wrong = row.Line
		}
	}
	hint := ""
	if wrong > 0 {
		hint = fmt.Sprintf("; the sale on line %d is wrong itself", wrong)
	}
	found := finding{rule: rowReturns}
	switch {
	case b.checker.known.Booked == nil:
		found.rule = rowReturnsHere
	case sales == 0:
		return finding{rule: rowNoSale, name: hint}
	}
	against := "none"
	if sales > 0 {
		against = side(sales, 1)
	}
	found.name = side(returns, -1) + " against " + against + hint
	return found
}

// settle counts, and lists the parts and problems.
func (res *Result) settle() error {
	res.mergeProblems()
	if len(res.FileProblems) > 0 {
		res.Rejected, res.Fresh, res.Updates, res.Repeats = res.Total, 0, 0, 0
		for i := range res.spool.buckets {
			if err := res.spool.replace(i, nil); err != nil {
				return err
			}
		}
		for i := range res.spool.parts {
			p := &res.spool.parts[i]
			p.Accepted, p.Shipped, p.Unshipped = 0, 0, 0
		}
	}
	res.Accepted = res.Total - res.Rejected
	res.Parts = slices.SortedFunc(slices.Values(res.spool.parts), func(a, b Part) int {
		return cmp.Or(strings.Compare(a.SellerID, b.SellerID), strings.Compare(string(a.Currency), string(b.Currency)))
	})
	return nil
}

// mergeProblems puts the findings among the problems of single rows.
func (res *Result) mergeProblems() {
	total := len(res.Problems) + len(res.findings) + res.More
	all, found := res.Problems, listed{}
	for _, p := range res.FileProblems {
		res.tally.count(p.Rule, 0, func() Problem { return p })
	}
	for _, f := range res.findings {
		res.tally.count(rules[f.rule].Name, int(f.line), f.problem)
		if found.room(rules[f.rule].Warning) {
			all = append(all, f.problem())
		}
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	res.listed = listed{}
	res.Problems = slices.DeleteFunc(all, func(p Problem) bool { return !res.listed.room(p.Warning) })
	res.More = total - len(res.Problems)
	res.Broken = res.tally.sorted()
}
