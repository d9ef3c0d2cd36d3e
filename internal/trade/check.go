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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openinfinia/infinia/money"
)

// Settings are the app's choices that a check depends on.
type Settings struct {
	Zone     *time.Location // of times written without one; +08:00 when nil
	Encoding string         // that an earlier look at the whole file has found; empty to find it out

	// Rest, if it is set, is called by each goroutine between two pieces of work with the time that the last one took. The
	// next begins when it returns.
	Rest func(worked time.Duration)
}

// Row is a sound row that is to be booked, or that changes the shipping fields of one booked before. It keeps what is judged
// again later; all else is in the file, at Offset.
type Row struct {
	Line       int   // of its first character, as an editor counts: the header is line 1
	Offset     int64 // of its record in the file, in bytes
	Shipped    bool
	Update     bool // it was booked before: only Shipped and ShipDetail are new
	SellerID   string
	Currency   money.Currency
	Amount     int64    // in minor units; below zero for a return
	At         int64    // transactionTime, epoch milliseconds
	ShipDetail int64    // hash of the shipping fields
	Item       [16]byte // hash of sellerId, orderId and sku; with At and the sign of Amount the identity of a sale or return
	content    uint64   // hash of all cells, to tell repeats within the file
	part       int32    // whose row it is, of the file's parts
	state      rowState
}

// Problem is what is wrong with one row, as data: it is reported to the sender, never returned as an error.
type Problem struct {
	Rule    string // the name of the rule that is broken, such as "row.repeat", "country.form"
	Line    int    // of the row; 0 for the whole file
	Column  string // empty for a whole row or file
	Value   string // the cell as sent, cut to 64 characters; empty when the problem lies between cells
	Wrong   string // what is wrong
	Fix     string // how to mend it
	Mend    string // what to write into the cell, where that is certain
	Remove  bool   // it is certain that the line is to be removed
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
	return where + ": " + p.Wrong + "; " + p.Fix
}

// Known tells what was accepted before. Several goroutines ask at once, and an error ends the check. A nil function stands
// for what nobody can tell without a database: every seller is bound, and what was filed before may have been anything that
// makes the rows sound.
type Known struct {
	// Bound tells which of these sellers' bindings are, or once were, SUCCESS; there are at most batchRecords.
	Bound func(of []Binding) (map[Binding]bool, error)
	// Booked finds the booked rows of the items from first to last, in ascending order of items and about as many as most,
	// but all those of an item. more tells that there are others after them.
	Booked func(first, last [16]byte, most int) (rows []Booked, more bool, err error)
}

// Binding is a seller in one currency.
type Binding struct {
	SellerID string
	Currency money.Currency
}

// Booked is a row that an earlier file booked; where one changed its shipping fields, as that file left it.
type Booked struct {
	Item          [16]byte
	At            int64
	Currency      money.Currency
	Amount        int64 // minor units
	Shipped       bool
	ShipDetail    int64
	FileRequestNo string
	Line          int
}

func (b *Booked) place() string { return fmt.Sprintf("%s, line %d", b.FileRequestNo, b.Line) }

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
	// Problems are those of rows, by line: the first 1,000 errors and the first 1,000 warnings. The error file has them all.
	Problems []Problem
	// More is the number of problems that are not in Problems.
	More int
	// Mendable is how many of all problems Fix would mend; more where one of them is the file's, which hides those of rows.
	Mendable int
	// Broken counts all problems by rule: those of the file first, then errors, then warnings, the most frequent first.
	Broken []Broken
	// Fresh and Updates are how many rows there are for EachRow: those that book something, and those that only change the
	// shipping fields of a booked one.
	Fresh, Updates int

	partNos  map[Binding]int32
	spool    *spool
	checker  *checker
	odd      bits      // which records have problems by themselves, counted from 0
	findings []finding // of rows together, by line
	refused  uint32    // bit i: rule i refuses the file
	listed   listed    // in Problems
	tally    tally
	overflow bool // the accepted rows sum to more than the books can hold
}

// Part is the rows of one seller and currency.
type Part struct {
	No              int // of the file's parts, in the order in which they first occur
	SellerID        string
	Currency        money.Currency
	Total, Accepted int

	// By how much the accepted rows change what the seller has filed, in minor units.
	Shipped, Unshipped int64
}

// Encoding is the name of the encoding in which the file was read.
func (res *Result) Encoding() string { return res.checker.enc.name }

// EachRow calls fn with the accepted rows that book or update something, some at a time: in the order of Item, At, sales
// before returns. fn may not keep the slice.
func (res *Result) EachRow(fn func(rows []Row) error) error {
	var rows []Row
	for i := range res.spool.buckets {
		var err error
		if rows, err = res.spool.rows(i, rows); err != nil {
			return err
		}
		if len(rows) == 0 {
			continue
		}
		if err := fn(rows); err != nil {
			return err
		}
	}
	return nil
}

// Close gives up the rows.
func (res *Result) Close() error { return res.spool.Close() }

// bits is a set of small numbers.
type bits []uint64

func (s *bits) add(n int) {
	for n/64 >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[n/64] |= 1 << (n % 64)
}

func (s bits) has(n int) bool { return n/64 < len(s) && s[n/64]>>(n%64)&1 != 0 }

const maxProblems = 1000

// listed counts errors and warnings.
type listed struct{ errors, warnings int }

// room counts one more, unless there are maxProblems.
func (l *listed) room(warning bool) bool {
	n := &l.errors
	if warning {
		n = &l.warnings
	}
	if *n == maxProblems {
		return false
	}
	*n++
	return true
}

// checker is what the rows of one file are judged by. It outlives Check, because the error file is written by judging its
// odd rows once more: that costs less than keeping every problem of a large file in memory.
type checker struct {
	zone    *time.Location
	rest    func(worked time.Duration)
	enc     encoding
	header  header
	known   Known
	bound   *bound
	seed    maphash.Seed
	texts   map[string]string // one copy of each sellerId and currency
	reading reading
	bytes   []byte // scratch
}

// newChecker reads of the file what it takes to tell its encoding.
func newChecker(src io.ReadSeeker, set Settings, known Known) (*checker, error) {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	enc, err := detect(src, set.Encoding)
	if err != nil {
		return nil, err
	}
	if set.Zone == nil {
		set.Zone = time.FixedZone("+08:00", 8*60*60)
	}
	if set.Rest == nil {
		set.Rest = func(time.Duration) {}
	}
	return &checker{zone: set.Zone, rest: set.Rest, known: known, enc: enc, bound: &bound{known: make(map[Binding]bool)}, seed: maphash.MakeSeed()}, nil
}

// another is the checker of another goroutine.
func (c *checker) another() *checker {
	n := *c
	n.texts, n.reading, n.bytes = make(map[string]string), reading{}, nil
	return &n
}

// bound is which bindings were asked for, and the answers.
type bound struct {
	mu    sync.Mutex // guards known
	known map[Binding]bool
}

// ask tells which of some bindings are bound.
func (b *bound) ask(of []Binding, ask func([]Binding) (map[Binding]bool, error)) (map[Binding]bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	answers := make(map[Binding]bool, len(of))
	var open []Binding
	for _, k := range of {
		if is, ok := b.known[k]; ok {
			answers[k] = is
		} else {
			open = append(open, k)
		}
	}
	if len(open) == 0 {
		return answers, nil
	}
	found, err := ask(open)
	if err != nil {
		return nil, err
	}
	for _, k := range open {
		b.known[k], answers[k] = found[k], found[k]
	}
	return answers, nil
}

// judged is what came of a row by itself.
type judged struct {
	row        Row
	binding    Binding // what its seller has to have had; empty where that is not known
	problems   []Problem
	identified bool   // it can be compared with others
	broken     ruleID // a rule of the file that this row breaks
	brokenLine int
	cut        bool
}

// Check judges the file in src. It does not close it, and reads it twice, on all cores; rows are put aside on disk where they
// are many. The error is one of reading src, of known or of the disk; a bad file is a Result. A Result holds while no other
// file of the same app is booked, and has to be closed.
func Check(src io.ReadSeeker, set Settings, known Known) (_ *Result, err error) {
	c, err := newChecker(src, set, known)
	if err != nil {
		return nil, fmt.Errorf("read trade file: %w", err)
	}
	res := &Result{checker: c, spool: &spool{}, partNos: make(map[Binding]int32), tally: tally{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, res.Close())
		}
	}()
	if err := c.readAll(src, res); err != nil {
		return nil, fmt.Errorf("read trade file: %w", err)
	}
	if err := c.judgeTogether(res); err != nil {
		return nil, fmt.Errorf("judge trade file: %w", err)
	}
	return res, res.settle()
}

// readAll judges each row by itself. Rows whose identity can be told are kept, wrong ones too, to be judged together.
func (c *checker) readAll(src io.ReadSeeker, res *Result) error {
	split, err := newSplitter(src, c.enc)
	if err != nil {
		return err
	}
	head, err := c.heading(split)
	switch {
	case errors.Is(err, io.EOF):
		res.refuse(fileEmpty, 0, "")
		return nil
	case errors.Is(err, errTooLong):
		res.refuse(fileTooLong, split.line, "")
		return nil
	case err != nil:
		return err
	}
	c.header = readHeader(head, c.enc)
	if len(c.header.problems) > 0 {
		if err := c.lookBelow(split, head); err != nil {
			return err
		}
	}
	res.FileProblems = c.header.problems
	for _, p := range res.FileProblems {
		if p.Mend != "" || p.Remove {
			res.Mendable++
		}
	}
	if res.foreign() { // its lines are no rows
		return nil
	}
	cut := 0
	return c.pass(split, func(c *checker, b *batch) error {
		if !c.header.clear {
			return nil
		}
		return c.judgeBatch(b, b.records)
	}, func(b *batch) error {
		res.Total += len(b.records)
		if c.header.clear {
			for i := range b.judged {
				j := &b.judged[i]
				if len(j.problems) > 0 {
					res.odd.add(b.first + i)
				}
				if j.broken != ruleNone {
					res.refuse(j.broken, j.brokenLine, c.enc.name)
				}
				cut = 0
				if j.cut {
					cut = j.row.Line
				}
				if err := res.keep(j); err != nil {
					return err
				}
			}
		}
		switch {
		case errors.Is(b.err, errTooLong):
			res.refuse(fileTooLong, b.line, "")
		case errors.Is(b.err, io.EOF):
			if cut > 0 {
				res.refuse(fileCut, cut, "")
			}
			if res.Total == 0 && len(res.FileProblems) == 0 {
				res.refuse(fileEmpty, 0, "")
			}
		}
		return nil
	})
}

// heading is the first record that is not blank.
func (c *checker) heading(split *splitter) (record, error) {
	for {
		if rec, err := split.next(); err != nil || !c.enc.blank(rec.raw) {
			return rec, err
		}
	}
}

// judgeBatch judges some records of a batch, each by itself, and then whether their sellers are bound.
func (c *checker) judgeBatch(b *batch, records []record) error {
	b.judged = b.judged[:0]
	var of []Binding
	asked := make(map[Binding]bool)
	for _, rec := range records {
		r := c.judge(rec)
		j := judged{row: r.row, binding: r.binding, identified: r.identified(), broken: r.broken, brokenLine: r.brokenLine, cut: r.cut}
		if len(r.problems) > 0 {
			j.problems = slices.Clone(r.problems)
		}
		if r.binding.SellerID != "" && c.known.Bound != nil && !asked[r.binding] {
			asked[r.binding] = true
			of = append(of, r.binding)
		}
		b.judged = append(b.judged, j)
	}
	if len(of) > 0 {
		bound, err := c.bound.ask(of, c.known.Bound)
		if err != nil {
			return fmt.Errorf("bindings of sellers: %w", err)
		}
		for i := range b.judged {
			if j := &b.judged[i]; j.binding.SellerID != "" && !bound[j.binding] {
				j.problems = append(j.problems, finding{line: int32(j.row.Line), rule: rowUnbound}.problem())
			}
		}
	}
	for i := range b.judged {
		if j := &b.judged[i]; slices.ContainsFunc(j.problems, func(p Problem) bool { return !p.Warning }) {
			j.row.state |= stateWrong
		}
	}
	return nil
}

// Unread tells that no row was judged, because it cannot be told from the header which cell is which.
func (res *Result) Unread() bool { return !res.checker.header.clear }

// foreign tells whether the file is no text at all, or one of another kind.
func (res *Result) foreign() bool {
	return len(res.FileProblems) > 0 && res.FileProblems[0].Rule == rules[fileForeign].Name
}

// refuse notes a fault of the whole file, where it shows first.
func (res *Result) refuse(rule ruleID, line int, name string) {
	if res.refused&(1<<rule) == 0 {
		res.refused |= 1 << rule
		res.FileProblems = append(res.FileProblems, finding{rule: rule, other: int32(line), name: name}.problem())
	}
}

// keep takes over what is needed of a row that was judged by itself.
func (res *Result) keep(j *judged) error {
	for _, p := range j.problems {
		if p.Mend != "" || p.Remove {
			res.Mendable++
		}
		res.tally.count(p.Rule, p.Line, func() Problem { return p })
		if !res.listed.room(p.Warning) {
			res.More++
			continue
		}
		p.Value = strings.Clone(shorten(p.Value))
		res.Problems = append(res.Problems, p)
	}
	if j.row.SellerID != "" {
		j.row.part = res.part(j.row.SellerID, j.row.Currency)
		res.spool.parts[j.row.part].Total++
	}
	if !j.identified {
		res.Rejected++
		return nil
	}
	return res.spool.add(&j.row)
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
