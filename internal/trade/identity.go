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

	"github.com/openinfinia/infinia/money"
)

// batch is how many keys are asked for at once.
const batch = 1000

// rowState is what is known of a row when rows are judged together.
type rowState uint8

const (
	stateWrong  rowState = 1 << iota // it has an error
	stateRepeat                      // the file has the same row before
	stateFiled                       // an earlier file booked it
)

// identify hashes what a row is compared by. The hashes are stored with booked rows: they must never change.
func (c *checker) identify(r *reading) {
	r.row.Item = c.hash(r.cells[colSellerID], r.cells[colOrderID], r.cells[colSKU])
	var moment [9]byte
	binary.BigEndian.PutUint64(moment[:], uint64(r.row.At))
	if r.row.Amount < 0 {
		moment[8] = 1
	}
	r.row.Key = c.hash(r.cells[colSellerID], r.cells[colOrderID], r.cells[colSKU], string(moment[:]))
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

// judgeTogether compares the rows of the file with each other and with what is booked.
func (c *checker) judgeTogether(res *Result) error {
	byKey := res.sorted(func(r *Row) *[16]byte { return &r.Key })
	for group := range res.groups(byKey, func(r *Row) *[16]byte { return &r.Key }) {
		res.judgeRepeats(group)
	}
	if err := c.judgePriors(res, byKey); err != nil {
		return fmt.Errorf("rows filed before: %w", err)
	}
	if err := c.judgeItems(res); err != nil {
		return fmt.Errorf("items filed before: %w", err)
	}
	slices.SortStableFunc(res.findings, func(a, b finding) int { return cmp.Compare(a.line, b.line) })
	return nil
}

// sorted is the order of rows by a hash, then by line.
func (res *Result) sorted(hash func(*Row) *[16]byte) []int32 {
	order := make([]int32, len(res.Rows))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(bytes.Compare(hash(&res.Rows[a])[:], hash(&res.Rows[b])[:]), cmp.Compare(a, b))
	})
	return order
}

// groups yields the rows that share a hash, from an order sorted by it.
func (res *Result) groups(order []int32, hash func(*Row) *[16]byte) func(yield func([]int32) bool) {
	return func(yield func([]int32) bool) {
		for len(order) > 0 {
			n := 1
			for n < len(order) && *hash(&res.Rows[order[n]]) == *hash(&res.Rows[order[0]]) {
				n++
			}
			if !yield(order[:n]) {
				return
			}
			order = order[n:]
		}
	}
}

func (res *Result) find(row *Row, f finding) {
	f.line = int32(row.Line)
	res.findings = append(res.findings, f)
	if !rules[f.rule].Warning {
		row.state |= stateWrong
	}
}

// judgeRepeats looks at rows of one identity: the same content again is a warning, other content an error on every one.
func (res *Result) judgeRepeats(group []int32) {
	first := &res.Rows[group[0]]
	var other *Row // the first row that differs from the first
	for _, i := range group {
		if row := &res.Rows[i]; row.content != first.content {
			other = row
			break
		}
	}
	for n, i := range group {
		row := &res.Rows[i]
		switch {
		case other != nil && row.content == first.content:
			res.find(row, finding{rule: rowConflict, other: int32(other.Line)})
		case other != nil:
			res.find(row, finding{rule: rowConflict, other: int32(first.Line)})
		case n > 0:
			row.state |= stateRepeat
			res.find(row, finding{rule: rowRepeat, other: int32(first.Line)})
		}
	}
}

// judgePriors compares each row with the booked row of its identity.
func (c *checker) judgePriors(res *Result, byKey []int32) error {
	if c.known.Prior == nil {
		return nil
	}
	for chunk := range slices.Chunk(byKey, batch) {
		keys := make([][16]byte, 0, len(chunk))
		for _, i := range chunk {
			keys = append(keys, res.Rows[i].Key)
		}
		priors, err := c.known.Prior(slices.Compact(keys))
		if err != nil {
			return err
		}
		for _, i := range chunk {
			row := &res.Rows[i]
			prior, filed := priors[row.Key]
			if !filed {
				continue
			}
			row.state |= stateFiled
			there := finding{other: int32(prior.Line), name: prior.FileRequestNo}
			switch {
			case prior.Currency != row.Currency || prior.Amount != row.Amount:
				there.rule = rowFiled
				res.find(row, there)
			case row.Amount > 0 && prior.Shipped && !row.Shipped:
				there.rule = rowUnshipped
				res.find(row, there)
			case row.Amount > 0 && prior.ShipDetail != row.ShipDetail:
				row.Update = true
			}
		}
	}
	return nil
}

// judgeItems looks at all rows of one seller, order and sku: one currency, and no more returned than sold.
func (c *checker) judgeItems(res *Result) error {
	itemOf := func(r *Row) *[16]byte { return &r.Item }
	groups, items := make([][]int32, 0, batch), make([][16]byte, 0, batch)
	flush := func() error {
		var booked map[[16]byte]ItemSum
		if c.known.Items != nil {
			var err error
			if booked, err = c.known.Items(items); err != nil {
				return err
			}
		}
		for n, group := range groups {
			sum := booked[items[n]]
			res.judgeCurrency(group, sum.Currency)
			res.judgeReturns(group, sum)
		}
		groups, items = groups[:0], items[:0]
		return nil
	}
	for group := range res.groups(res.sorted(itemOf), itemOf) {
		groups, items = append(groups, group), append(items, *itemOf(&res.Rows[group[0]]))
		if len(items) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(items) == 0 {
		return nil
	}
	return flush()
}

// judgeCurrency takes the currency that is booked, or else wants all rows of the file to agree.
func (res *Result) judgeCurrency(group []int32, booked money.Currency) {
	first := &res.Rows[group[0]]
	var other *Row
	for _, i := range group {
		if row := &res.Rows[i]; row.Currency != first.Currency {
			other = row
			break
		}
	}
	for _, i := range group {
		row := &res.Rows[i]
		switch {
		case booked != "" && row.Currency != booked && row.state&stateFiled == 0:
			res.find(row, finding{rule: rowCurrencyFiled, name: string(booked)})
		case booked != "" || other == nil:
		case row.Currency == first.Currency:
			res.find(row, finding{rule: rowCurrency, other: int32(other.Line)})
		default:
			res.find(row, finding{rule: rowCurrency, other: int32(first.Line)})
		}
	}
}

// judgeReturns adds what is booked and the sound rows of the file. What is wrong with the sum is wrong with every return of
// the item, because nobody can tell which one is too much.
func (res *Result) judgeReturns(group []int32, sum ItemSum) {
	fits := true
	for _, i := range group {
		row := &res.Rows[i]
		if row.state != 0 { // wrong, a repeat, or booked already
			continue
		}
		side, amount := &sum.Sales, row.Amount
		if amount < 0 {
			side, amount = &sum.Returns, -amount
		}
		total, err := money.Add(*side, amount)
		if err != nil {
			fits = false
			break
		}
		*side = total
	}
	for _, i := range group {
		row := &res.Rows[i]
		switch {
		case !fits:
			res.find(row, finding{rule: rowSum})
		case row.Amount < 0 && sum.Returns > sum.Sales:
			res.find(row, finding{rule: rowReturns})
		}
	}
}

// settle counts, and leaves in Rows only what an importer has to write.
func (res *Result) settle() {
	res.mergeProblems()
	defer res.listParts()
	if len(res.FileProblems) > 0 {
		res.Rejected, res.Rows = res.Total, nil
		return
	}
	kept := res.Rows[:0]
	for _, row := range res.Rows {
		if row.state&stateWrong != 0 {
			res.Rejected++
			continue
		}
		res.part(row).Accepted++
		if row.state&stateRepeat != 0 || row.state&stateFiled != 0 && !row.Update {
			res.Repeats++
			continue
		}
		kept = append(kept, row)
	}
	res.Rows = slices.Clip(kept)
	res.Accepted = res.Total - res.Rejected
}

// listParts puts the counts of sellers and currencies in order.
func (res *Result) listParts() {
	for _, p := range res.parts {
		res.Parts = append(res.Parts, *p)
	}
	slices.SortFunc(res.Parts, func(a, b Part) int {
		return cmp.Or(strings.Compare(a.SellerID, b.SellerID), strings.Compare(string(a.Currency), string(b.Currency)))
	})
	res.parts = nil
}

// mergeProblems puts the findings among the problems of single rows.
func (res *Result) mergeProblems() {
	found := res.findings
	if len(found) > maxProblems {
		found = found[:maxProblems]
	}
	all := res.Problems
	for _, f := range found {
		all = append(all, f.problem())
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	total := len(res.Problems) + len(res.findings) + res.More
	res.Problems = all[:min(len(all), maxProblems)]
	res.More = total - len(res.Problems)
}
