// Package trade reads the trade files that tell what sellers sold, which is what they may share: it checks every row, and
// says of each wrong one what is wrong and how to mend it.
//
// [Check] needs no database; what earlier files say reaches it through the functions in [Known]. It knows nothing of how a
// file arrived, nor whether one bad row refuses all of it: that is the importer's to decide from the [Result].
package trade

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"time"

	"github.com/openinfinia/infinia/money"
)

// Settings are the app's choices that a check depends on.
type Settings struct {
	Zone *time.Location // of times written without one; +08:00 when nil
}

// Row is a sound row that is to be booked, or that updates the shipping fields of one booked before. It keeps what is judged
// again later; all else is in the file, at Offset.
type Row struct {
	Line       int   // of its first character, as an editor counts: the header is line 1
	Offset     int64 // of its record in the file, in bytes
	Length     int32 // of its record, in bytes, without the line end
	Shipped    bool
	Update     bool // it was booked before: only Shipped and ShipDetail are new
	state      rowState
	SellerID   string
	Currency   money.Currency
	Amount     int64    // in minor units; below zero for a return
	At         int64    // transactionTime, epoch milliseconds
	ShipDetail int64    // hash of the shipping fields
	Key        [16]byte // hash of sellerId, orderId, sku, transactionTime and sign: the identity of a sale or return
	Item       [16]byte // hash of sellerId, orderId and sku
	content    uint64   // hash of all cells, to tell repeats within the file
}

// Problem is what is wrong with one row, as data: it is reported to the sender, never returned as an error.
type Problem struct {
	Line    int    // of the row; 0 for the whole file
	Column  string // empty for a whole row or file
	Value   string // the cell as sent, cut to 64 characters; empty when the problem lies between cells
	Rule    string // what is wrong
	Fix     string // how to mend it
	Warning bool   // told, but it rejects nothing
}

// String is the text of the error file: "column: what is wrong; how to mend it".
func (p Problem) String() string {
	where := p.Column
	switch {
	case where == "" && p.Line == 0:
		where = "file"
	case where == "":
		where = "row"
	}
	if p.Warning {
		where = "warning: " + where
	}
	return where + ": " + p.Rule + "; " + p.Fix
}

// Known tells what was accepted before. The functions are asked from one goroutine, and an error of theirs ends the check. A
// nil one stands for what nobody can tell without a database: every seller is bound, nothing was filed before.
type Known struct {
	// Bound tells whether a binding of the seller in this currency is, or once was, SUCCESS.
	Bound func(sellerID string, currency money.Currency) (bool, error)
	// Prior finds the booked rows of these keys, at most 1,000 at a time in ascending order.
	Prior func(keys [][16]byte) (map[[16]byte]Prior, error)
	// Items finds the booked sums of these items, at most 1,000 at a time in ascending order.
	Items func(items [][16]byte) (map[[16]byte]ItemSum, error)
}

// Prior is a row that an earlier file booked.
type Prior struct {
	Currency      money.Currency
	Amount        int64 // minor units
	Shipped       bool
	ShipDetail    int64
	FileRequestNo string
	Line          int
}

// ItemSum is what is booked for one seller, order and sku, in minor units; both sums are zero or above.
type ItemSum struct {
	Currency       money.Currency
	Sales, Returns int64
}

// Result is the judgement of a whole file.
type Result struct {
	Total    int // rows; Accepted + Rejected
	Accepted int // rows without an error
	Rejected int
	Repeats  int // accepted rows that book nothing, because the file or an earlier one has the same

	// Parts counts the rows of each seller and currency, ordered by them; a row whose seller or currency is wrong is in none.
	Parts []Part

	// FileProblems are faults of the whole file. When there is one, no row is accepted.
	FileProblems []Problem
	// Problems are those of rows, by line, warnings included; the first 1,000. The error file has them all.
	Problems []Problem
	// More is the number of problems that are not in Problems.
	More int
	// Rows are the accepted rows that book or update something, by line.
	Rows []Row

	parts    map[binding]*Part
	checker  *checker
	findings []finding // of rows together, by line
	refused  uint32    // bit i: rule i refuses the file
}

// Part is the rows of one seller and currency.
type Part struct {
	SellerID        string
	Currency        money.Currency
	Total, Accepted int
}

const maxProblems = 1000

// checker is what the rows of one file are judged by. It outlives Check, because the error file is written by judging the
// rows once more: that costs less than keeping every problem of a large file in memory.
type checker struct {
	zone    *time.Location
	known   Known
	enc     encoding
	header  header
	bound   map[binding]bool
	texts   map[string]string // one copy of each sellerId and currency
	seed    maphash.Seed
	reading reading
	bytes   []byte // scratch
}

type binding struct {
	seller   string
	currency money.Currency
}

// Check judges the file in src. It does not close it, and reads it twice. The error is one of reading src or of known; a bad
// file is a Result. A Result holds while no other file of the same app is booked.
func Check(src io.ReadSeeker, set Settings, known Known) (*Result, error) {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind trade file: %w", err)
	}
	enc, err := detect(src)
	if err != nil {
		return nil, fmt.Errorf("read trade file: %w", err)
	}
	if set.Zone == nil {
		set.Zone = time.FixedZone("+08:00", 8*60*60)
	}
	c := &checker{zone: set.Zone, known: known, enc: enc, bound: make(map[binding]bool), texts: make(map[string]string), seed: maphash.MakeSeed()}
	res := &Result{checker: c, parts: make(map[binding]*Part)}
	if err := c.readAll(src, res); err != nil {
		return nil, fmt.Errorf("read trade file: %w", err)
	}
	if err := c.judgeTogether(res); err != nil {
		return nil, fmt.Errorf("judge trade file: %w", err)
	}
	res.settle()
	return res, nil
}

// readAll judges each row by itself. Rows whose identity can be told are kept, wrong ones too, to be judged together.
func (c *checker) readAll(src io.ReadSeeker, res *Result) error {
	split, err := newSplitter(src, c.enc)
	if err != nil {
		return err
	}
	headed, cut := false, 0
	for {
		rec, err := split.next()
		switch {
		case errors.Is(err, io.EOF):
			if cut > 0 {
				res.refuse(fileCut, cut, "")
			}
			if res.Total == 0 && len(res.FileProblems) == 0 {
				res.refuse(fileEmpty, 0, "")
			}
			return nil
		case errors.Is(err, errTooLong):
			res.refuse(fileTooLong, split.line, "")
			return nil
		case err != nil:
			return err
		case c.enc.blank(rec.raw):
			continue
		case !headed:
			headed = true
			c.header = readHeader(rec, c.enc)
			res.FileProblems = c.header.problems
			continue
		}
		res.Total++
		if len(c.header.problems) > 0 {
			continue
		}
		r, err := c.judge(rec)
		if err != nil {
			return err
		}
		if r.broken != ruleNone {
			res.refuse(r.broken, rec.line, c.enc.name)
		}
		cut = 0
		if r.cut {
			cut = rec.line
		}
		res.keep(r)
	}
}

// refuse notes a fault of the whole file, where it shows first.
func (res *Result) refuse(rule ruleID, line int, name string) {
	if res.refused&(1<<rule) == 0 {
		res.refused |= 1 << rule
		res.FileProblems = append(res.FileProblems, finding{rule: rule, other: int32(line), name: name}.problem())
	}
}

// keep takes over what is needed of a row that was judged by itself.
func (res *Result) keep(r *reading) {
	for _, p := range r.problems {
		if len(res.Problems) == maxProblems {
			res.More++
			continue
		}
		p.Value = strings.Clone(shorten(p.Value))
		res.Problems = append(res.Problems, p)
	}
	if r.row.SellerID != "" {
		res.part(r.row).Total++
	}
	if r.wrong() {
		r.row.state |= stateWrong
	}
	if r.identified() {
		res.Rows = append(res.Rows, r.row)
	} else {
		res.Rejected++
	}
}

// part is the count of a row's seller and currency.
func (res *Result) part(row Row) *Part {
	p, ok := res.parts[binding{row.SellerID, row.Currency}]
	if !ok {
		p = &Part{SellerID: row.SellerID, Currency: row.Currency}
		res.parts[binding{p.SellerID, p.Currency}] = p
	}
	return p
}

func shorten(value string) string {
	n := 0
	for i := range value {
		if n == 64 {
			return value[:i]
		}
		n++
	}
	return value
}
