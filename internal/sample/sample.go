// Package sample writes realistic trade files for tests, benchmarks and whoever wants to try the system: sales and returns of
// many sellers, and, where that is asked for, rows with a known number of known faults. The same options give the same bytes
// on every machine.
//
// It knows the documented form of trade files and shares no code with the checker that its files try, so that the two can be
// held against each other.
package sample

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/openinfinia/infinia/money"
)

// Million is all of a file, for [Options.Bad].
const Million = 1_000_000

// Options say what is written. All but Rows may be left out.
type Options struct {
	Rows       int
	Bad        int              // faulty rows in a million, about
	Seed       uint64           // other seeds give other rows and other orders
	Sellers    []string         // Sellers(10) when empty
	Currencies []money.Currency // each seller sells in all of them; CNH when empty
	Encoding   Encoding         // UTF-8 without a mark when empty
	Start      time.Time        // a time on the first of the 30 days of the sales; 2026-01-01 when zero
	CRLF       bool             // lines end as Windows writes them
}

// Summary is what the rows are, as a checker that knows no other file has to judge them.
type Summary struct {
	Rows     int // Accepted + Rejected
	Accepted int
	Rejected int // rows with a fault, and sound ones that a faulty one takes with it
	Repeats  int // accepted rows that say again what another one says
	Faults   []Fault
}

// Fault is one kind of fault with the rows that are rejected for it. A row is rejected for one only.
type Fault struct {
	Column string // empty when it is the whole row's
	Name   string
	Rows   int
}

// Sellers are n sellers by number: SELLER-000001 and on.
func Sellers(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("SELLER-%06d", i+1)
	}
	return all
}

// zone is the one that apps have when nothing else is set.
var zone = time.FixedZone("+08:00", 8*60*60)

const period = 30 * day

// Write writes a file. It holds a few recent sales in memory, whatever the number of rows.
func Write(w io.Writer, opt Options) (Summary, error) {
	if len(opt.Sellers) == 0 {
		opt.Sellers = Sellers(10)
	}
	if len(opt.Currencies) == 0 {
		opt.Currencies = []money.Currency{"CNH"}
	}
	if opt.Encoding == "" {
		opt.Encoding = UTF8
	}
	if opt.Start.IsZero() {
		opt.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, zone)
	}
	year, month, date := opt.Start.Date()
	opt.Start = time.Date(year, month, date, 0, 0, 0, 0, zone)
	if err := opt.check(); err != nil {
		return Summary{}, err
	}
	g := newGenerator(opt)
	out := newEncoder(w, opt.Encoding)
	out.mark()
	lineEnd := []byte("\n")
	if opt.CRLF {
		lineEnd = []byte("\r\n")
	}
	out.write([]byte(header))
	out.write(lineEnd)
	for out.err == nil && g.rows < opt.Rows {
		g.next()
		out.write(g.row)
		out.write(lineEnd)
	}
	if err := out.flush(); err != nil {
		return Summary{}, fmt.Errorf("write sample: %w", err)
	}
	return g.summary(), nil
}

func (opt Options) check() error {
	switch year := opt.Start.Year(); {
	case opt.Rows <= 0:
		return errors.New("a trade file needs a row at least")
	case opt.Bad < 0 || opt.Bad > Million:
		return errors.New("the faulty rows are not between none and all")
	case year < 2002 || year > 2199: // times as epoch milliseconds are written with 13 digits
		return errors.New("the start is not between the years 2002 and 2199")
	case !opt.Encoding.known():
		return fmt.Errorf("%q is not an encoding of trade files", opt.Encoding)
	}
	for _, c := range opt.Currencies {
		if !money.Known(string(c)) {
			return fmt.Errorf("%q is not a currency known here", c)
		}
	}
	for _, id := range opt.Sellers {
		// Commas and quotes would need quotes around them, which a faulty row before could take for its own; and a word that
		// is UTF-8 as well would hide that a file is GB18030.
		other := func(r rune) bool { return r < ' ' || r > '~' || r == ',' || r == '"' }
		if id == "" || len(id) > 64 || strings.TrimSpace(id) != id || strings.ContainsFunc(id, other) {
			return fmt.Errorf("%q is no sellerId for a sample: at most 64 ASCII characters, without commas, quotes and white space around", id)
		}
	}
	return nil
}

func newGenerator(opt Options) *generator {
	g := &generator{opt: opt, random: rand.NewPCG(opt.Seed, 0), sold: make([]sale, 0, window), last: -1, counts: make([]int, len(faults))}
	for _, c := range opt.Currencies {
		g.currencies = append(g.currencies, currency{string(c), money.Digits(c) > 0})
	}
	return g
}

func (g *generator) summary() Summary {
	sum := Summary{Rows: g.rows, Repeats: g.repeats}
	for i, f := range faults {
		if g.counts[i] > 0 {
			sum.Rejected += g.counts[i]
			sum.Faults = append(sum.Faults, Fault{f.column(), f.name, g.counts[i]})
		}
	}
	sum.Accepted = sum.Rows - sum.Rejected
	return sum
}
