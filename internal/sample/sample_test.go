package sample

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/openinfinia/infinia/internal/trade"
	"github.com/openinfinia/infinia/money"
)

func made(t *testing.T, opt Options) ([]byte, Summary) {
	t.Helper()
	var b bytes.Buffer
	sum, err := Write(&b, opt)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), sum
}

// nothingBooked is a server's answer that it has no earlier file, where returns need their sales in the file itself.
func nothingBooked(_, _ [16]byte, _ int) ([]trade.Booked, bool, error) { return nil, false, nil }

func checked(t *testing.T, file []byte) *trade.Result {
	t.Helper()
	res, err := trade.Check(bytes.NewReader(file), trade.Settings{}, trade.Known{Booked: nothingBooked})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.FileProblems) > 0 {
		t.Fatalf("the whole file is refused: %v", res.FileProblems)
	}
	return res
}

var encodings = []Encoding{UTF8, UTF8Mark, UTF16, GB18030}

// The digests change when the generator does: then benchmarks before and after cannot be compared.
func TestSameOptionsSameBytes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		opt  Options
		want string
	}{
		{Options{Rows: 1000}, "964d970eb7bd6dba"},
		{Options{Rows: 1000, Seed: 1}, "c97c496178223905"},
		{Options{Rows: 1000, Seed: 1, Bad: 50_000}, "8747939005132956"},
		{Options{Rows: 500, Seed: 1, Bad: 50_000, Encoding: UTF16, CRLF: true, Currencies: []money.Currency{"USD", "JPY"}}, "f65d2b412c582671"},
		{Options{Rows: 500, Seed: 1<<64 - 1, Encoding: GB18030, Sellers: []string{"acme/1"}, Start: time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC)}, "c75d13dceea98a77"},
	} {
		file, _ := made(t, test.opt)
		if got := fmt.Sprintf("%x", sha256.Sum256(file))[:16]; got != test.want {
			t.Errorf("%+v: got %s, want %s", test.opt, got, test.want)
		}
	}
}

func TestSoundFilesAreAccepted(t *testing.T) {
	t.Parallel()
	returns, repeats := 0, 0
	for seed := range uint64(24) {
		for _, rows := range []int{1, 2, 3, 10, 999} {
			opt := Options{Rows: rows, Seed: seed, Encoding: encodings[seed%4], CRLF: seed%3 == 0, Sellers: Sellers(1 + int(seed))}
			if seed%2 == 0 {
				opt.Currencies = []money.Currency{"CNH", "JPY", "KWD", "USD"}
			}
			file, sum := made(t, opt)
			want := Summary{Rows: rows, Accepted: rows, Repeats: sum.Repeats}
			if diff := cmp.Diff(want, sum); diff != "" {
				t.Error(diff)
			}
			res := checked(t, file)
			if res.Total != rows || res.Accepted != rows || len(res.Problems) != sum.Repeats {
				t.Fatalf("%+v: %d rows, %d accepted, %v", opt, res.Total, res.Accepted, res.Problems)
			}
			returns += bytes.Count(file, []byte(",-"))
			repeats += sum.Repeats
		}
	}
	if returns == 0 || repeats == 0 {
		t.Errorf("%d returns and %d repeats in all", returns, repeats)
	}
}

// Each rejected row has one error, so that the errors by column are the faults by column.
func TestFaultsAreThoseThatTheCheckerFinds(t *testing.T) {
	t.Parallel()
	kinds := make(map[string]int)
	for seed := range uint64(60) {
		// At most as many as there are problems that the checker keeps.
		opt := Options{Rows: 1 + int(seed*7%800), Seed: seed, Bad: [...]int{5_000, 50_000, 300_000, 900_000, Million}[seed%5], Encoding: encodings[seed%4], CRLF: seed%3 == 0}
		if seed%2 == 0 {
			opt.Currencies = []money.Currency{"JPY", "USD", "KWD", "CNH"}
		}
		file, sum := made(t, opt)
		res := checked(t, file)
		want, got := make(map[string]int), make(map[string]int)
		for _, f := range sum.Faults {
			want[f.Column] += f.Rows
			kinds[f.Column+" "+f.Name] += f.Rows
		}
		lines := make(map[int]bool)
		for _, p := range res.Problems {
			if !p.Warning {
				got[p.Column]++
				lines[p.Line] = true
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: errors by column: %s", opt, diff)
		}
		if res.Total != opt.Rows || res.Accepted != sum.Accepted || res.Rejected != sum.Rejected || len(lines) != sum.Rejected {
			t.Errorf("%+v: the checker says %d rows, %d accepted, %d rejected on %d lines, the summary %+v", opt, res.Total, res.Accepted, res.Rejected, len(lines), sum)
		}
		if opt.Bad == Million && sum.Rejected != opt.Rows {
			t.Errorf("%+v: not all rows are faulty: %+v", opt, sum)
		}
	}
	if len(kinds) != len(faults) {
		t.Errorf("%d kinds of faults were made, there are %d", len(kinds), len(faults))
	}
}

// Every text of every fault, alone in a file, is rejected by a rule of its column.
func TestEveryTextOfAFault(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		for _, text := range f.texts {
			g := newGenerator(Options{Rows: 2, Sellers: Sellers(1), Currencies: []money.Currency{"CNH"}, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, zone)})
			file := append([]byte(header), '\n')
			s := g.sell()
			s.shipped = f.needs != unshipped
			g.write(&s)
			if f.row {
				g.breakQuotes()
			}
			g.replace(f.cell, text)
			file = append(append(file, g.row...), '\n')
			s = g.sell()
			g.write(&s)
			file = append(append(file, g.row...), '\n')
			res := checked(t, file)
			if res.Total != 2 || res.Accepted != 1 || len(res.Problems) != 1 || res.Problems[0].Line != 2 || res.Problems[0].Column != f.column() {
				t.Errorf("%s %s: %.40q: %d rows, %v", f.column(), f.name, text, res.Total, res.Problems)
			}
		}
	}
}

func TestManyRows(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	opt := Options{Rows: rows, Seed: 7, Bad: 20_000, Sellers: Sellers(500)}
	file, sum := made(t, opt)
	res := checked(t, file)
	if res.Total != rows || res.Accepted != sum.Accepted || res.Rejected != sum.Rejected {
		t.Errorf("the checker says %d accepted, %d rejected, the summary %+v", res.Accepted, res.Rejected, sum)
	}
	if sum.Rejected < rows*15/1000 || sum.Rejected > rows*25/1000 {
		t.Errorf("%d rows of %d are rejected, about 2 %% were asked for", sum.Rejected, rows)
	}
	if n := bytes.Count(file, []byte(",-")); n < rows*20/1000 || n > rows*40/1000 {
		t.Errorf("%d rows of %d are returns", n, rows)
	}
	if n := bytes.Count(file, []byte(",Not Shipped,")); n < rows/10 || n > rows*3/10 {
		t.Errorf("%d rows of %d are not shipped", n, rows)
	}
}

func TestMemoryDoesNotGrowWithRows(t *testing.T) {
	allocs := func(opt Options) float64 {
		return testing.AllocsPerRun(1, func() {
			if _, err := Write(io.Discard, opt); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, e := range encodings {
		few, many := allocs(Options{Rows: 2000, Encoding: e}), allocs(Options{Rows: 20_000, Encoding: e})
		if many > few+50 {
			t.Errorf("%s: %v allocations for 2,000 rows, %v for 20,000", e, few, many)
		}
	}
}

// What the checker takes for GB18030 is told by the bytes that are not UTF-8; each word has to have more of them.
func TestWordsAreNoUTF8InGB18030(t *testing.T) {
	t.Parallel()
	words := append(append([]string(nil), buyers...), addresses...)
	for _, p := range products {
		words = append(words, p.name)
	}
	for _, c := range carriers {
		words = append(words, c.name)
	}
	for _, f := range faults {
		words = append(words, f.texts...)
	}
	for _, word := range words {
		text, err := simplifiedchinese.GB18030.NewEncoder().String(word)
		if err != nil {
			t.Fatal(err)
		}
		good, wrong := 0, 0
		for len(text) > 0 {
			r, size := utf8.DecodeRuneInString(text)
			text = text[size:]
			if r == utf8.RuneError {
				wrong++
			} else {
				good += size - 1
			}
		}
		if good > 0 && good >= wrong {
			t.Errorf("%.40q could be taken for UTF-8", word)
		}
	}
}

func TestOptionsThatMakeNoFile(t *testing.T) {
	t.Parallel()
	for want, opt := range map[string]Options{
		"needs a row":        {},
		"not between none":   {Rows: 1, Bad: Million + 1},
		"is not an encoding": {Rows: 1, Encoding: "latin-1"},
		"is not a currency":  {Rows: 1, Currencies: []money.Currency{"RMB"}},
		"is no sellerId":     {Rows: 1, Sellers: []string{"SELLER-1", "a,b"}},
		"years 2002":         {Rows: 1, Start: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)},
		"at most 64 ASCII":   {Rows: 1, Sellers: []string{strings.Repeat("x", 65)}},
	} {
		var b bytes.Buffer
		if _, err := Write(&b, opt); err == nil || !strings.Contains(err.Error(), want) || b.Len() > 0 {
			t.Errorf("%+v: %v, %d bytes written", opt, err, b.Len())
		}
	}
}

type fullDisk struct{ writes int }

func (d *fullDisk) Write([]byte) (int, error) {
	d.writes++
	return 0, io.ErrShortWrite
}

func TestAFaultOfTheWriterEndsIt(t *testing.T) {
	t.Parallel()
	disk := new(fullDisk)
	if _, err := Write(disk, Options{Rows: 1 << 30}); !errors.Is(err, io.ErrShortWrite) || disk.writes != 1 {
		t.Errorf("%v after %d writes", err, disk.writes)
	}
}

// BenchmarkWrite prints rows a second.
func BenchmarkWrite(b *testing.B) {
	const rows = 100_000
	for _, e := range encodings {
		b.Run(string(e), func(b *testing.B) {
			for b.Loop() {
				if _, err := Write(io.Discard, Options{Rows: rows, Bad: 10_000, Encoding: e}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
