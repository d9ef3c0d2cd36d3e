package trade

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/language"
)

func zoneAt(t *testing.T, hours string) *time.Location {
	d, err := time.ParseDuration(hours + "h")
	if err != nil {
		t.Fatal(err)
	}
	return time.FixedZone(hours, int(d.Seconds()))
}

func mustCheck(t *testing.T, file string) *Result {
	t.Helper()
	res, err := Check(strings.NewReader(file), Settings{}, Known{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func errorFileOf(t *testing.T, file string, res *Result, all bool) string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteErrorFile(&out, strings.NewReader(file), res, all); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestMendedErrorFileIsAccepted(t *testing.T) {
	t.Parallel()
	file := csvOf(headerLine(), "transactionAmount=1,000; productQuantity=40\nsku=SKU-2\nsku=SKU-3; country=CH\n")
	res := mustCheck(t, file)
	if res.Rejected != 2 {
		t.Fatal(describe(res))
	}
	mended := errorFileOf(t, file, res, true)
	for _, m := range [][2]string{{`"1,000"`, "1000.00"}, {",CH,", ",CHN,"}} {
		if strings.Count(mended, m[0]) != 1 {
			t.Fatalf("no %s in\n%s", m[0], mended)
		}
		mended = strings.Replace(mended, m[0], m[1], 1)
	}
	if res = mustCheck(t, mended); res.Accepted != 3 {
		t.Error(describe(res))
	}
	again := errorFileOf(t, mended, res, true)
	if header, _, _ := strings.Cut(again, "\n"); strings.Count(header, "lineNumber") != 1 {
		t.Errorf("the columns of the error file stand twice: %s", header)
	}
	if strings.Contains(again, "1 error") || strings.Contains(again, "is not a") {
		t.Errorf("an old error is still told:\n%s", again)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	zone := zoneAt(t, "8")
	for text, want := range map[string]int64{
		"2025-09-03 14:05:00":       1756879500000,
		"2025-09-03T14:05:00+08:00": 1756879500000,
		"2025-09-03T06:05:00Z":      1756879500000,
		"2025-09-03T06:05:00.25Z":   1756879500250,
		"1756879500000":             1756879500000,
		"2025-9-3 14:05:00":         0,
		"2025-09-03 4:05:00.0":      0,
		"2025-09-03T4:05:00Z":       0,
		"2025-09-03T04:05:00,5Z":    0,
		"2025-09-03 14:05":          0,
		"2025-02-30 14:05:00":       0,
		"2025/09/03 14:05:00":       0,
		"2025-09-03T14:05:00":       0,
		"1756879500":                0,
		"-175687950000":             0,
		"+175687950000":             0,
	} {
		got, ok := instant(text, zone)
		if ok != (want != 0) || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, ok, want)
		}
	}
}

// TestTimesWhenClocksChange: what a zone's clocks show twice, or never, is no time without its zone.
func TestTimesWhenClocksChange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ zone, text, want string }{
		{"America/New_York", "2025-03-09 01:59:59", "2025-03-09T01:59:59-05:00"},
		{"America/New_York", "2025-03-09 02:30:00", "never was in America/New_York, where clocks were put forward over it"},
		{"America/New_York", "2025-03-09 03:00:00", "2025-03-09T03:00:00-04:00"},
		{"America/New_York", "2025-11-02 00:59:59", "2025-11-02T00:59:59-04:00"},
		{"America/New_York", "2025-11-02 01:30:00", "write 2025-11-02T01:30:00-04:00 or 2025-11-02T01:30:00-05:00"},
		{"America/New_York", "2025-11-02 02:00:00", "2025-11-02T02:00:00-05:00"},
		{"America/New_York", "2025-11-03 01:30:00", "2025-11-03T01:30:00-05:00"},
		{"Pacific/Apia", "2011-12-30 12:00:00", "never was in Pacific/Apia, where clocks were put forward over it"},
		{"Asia/Shanghai", "2025-11-02 01:30:00", "2025-11-02T01:30:00+08:00"},
	} {
		zone, err := time.LoadLocation(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if at, ok := instant(test.text, zone); ok {
			got = time.UnixMilli(at).In(zone).Format(time.RFC3339)
		} else {
			f := explainTime(test.text, zone, true)
			got = f.wrong + "; " + f.fix
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s in %s: %s, want %s", test.text, test.zone, got, test.want)
		}
	}
}

func TestCountriesAgainstCLDR(t *testing.T) {
	t.Parallel()
	found := make(map[string]bool)
	for two, three := range alpha3 {
		if region, err := language.ParseRegion(two); two != "UK" && (err != nil || !region.IsCountry() || region.ISO3() != three) {
			t.Errorf("%s: %s here, %s in CLDR, %v", two, three, region.ISO3(), err)
		}
		found[three] = true
	}
	for code := range countries {
		if len(code) != 3 || !found[code] {
			t.Errorf("%q has no code of two letters", code)
		}
	}
	if len(countries) != 249 {
		t.Errorf("%d countries", len(countries))
	}
}

// The hashes are stored with booked rows. When this fails, the code is to be put right, not the test.
func TestHashesNeverChange(t *testing.T) {
	t.Parallel()
	r := rowsOf(mustCheck(t, csvOf(headerLine(), "base")))[0]
	got := fmt.Sprintf("%x %d", r.Item, r.ShipDetail)
	const want = "458b757d1abdfff9857ec4a80a7d4732 -9139925603091773072"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIdentityIsTheInstantAndTheSign(t *testing.T) {
	t.Parallel()
	res := mustCheck(t, csvOf(headerLine(), "base\ntransactionAmount=-100.00\ntransactionTime=2025-09-03T02:00:00Z; sku=SKU-2\nsku=SKU-2; transactionTime=1756864800001"))
	if res.Fresh != 4 {
		t.Error(describe(res))
	}
	res = mustCheck(t, csvOf(headerLine(), "base\ntransactionTime=2025-09-03T02:00:00Z"))
	if res.Rejected != 2 {
		t.Errorf("the same instant in two forms is one identity:\n%s", describe(res))
	}
}

func TestOffsetsFindTheRecord(t *testing.T) {
	t.Parallel()
	s := parseStory("-- options --\nencoding: utf-16be\nlines: crlf\n")
	file := s.encode(t, csvOf(headerLine(), "buyerName=Zoë\nsku=SKU-2; buyerName=\"A\"\nsku=SKU-3"))
	res, err := Check(bytes.NewReader(file), Settings{}, Known{})
	if err != nil || res.Accepted != 3 {
		t.Fatal(err, describe(res))
	}
	for i, want := range []string{"Zoë", `"""A"""`, "SKU-3"} {
		row := rowsOf(res)[i]
		split := &splitter{src: bytes.NewReader(file[row.Offset:]), enc: res.checker.enc}
		rec, err := split.next()
		text, ok := res.checker.enc.decode(rec.raw)
		if err != nil || !ok || !strings.HasPrefix(text, "SELLER-1,") || !strings.Contains(text, want) || strings.ContainsAny(text, "\r\n") {
			t.Errorf("row %d: %q", i, text)
		}
	}
}

func TestProblemsAreCapped(t *testing.T) {
	t.Parallel()
	rows := strings.Repeat("country=XX; buyerName="+strings.Repeat("n", 513)+"\n", maxProblems)
	file := csvOf(headerLine(), rows)
	res := mustCheck(t, file)
	// Two a row, and a warning in each but the first that it repeats the first: that many warnings find room.
	if len(res.Problems) != 2*maxProblems-1 || res.More != maxProblems || res.Rejected != maxProblems {
		t.Errorf("%d problems and %d more, %d rows rejected", len(res.Problems), res.More, res.Rejected)
	}
	last := 0
	for _, p := range res.Problems {
		if !p.Warning {
			last = p.Line
		}
	}
	if last != 1+maxProblems/2 {
		t.Errorf("the last error kept is of line %d", last)
	}
	if n := strings.Count(errorFileOf(t, file, res, false), "513 characters"); n != maxProblems {
		t.Errorf("the error file has %d of the problems", n)
	}
}

func TestFaultsOfKnownEndTheCheck(t *testing.T) {
	t.Parallel()
	gone := errors.New("database gone")
	for name, known := range map[string]Known{
		"bound":  {Bound: func([]Binding) (map[Binding]bool, error) { return nil, gone }},
		"booked": {Booked: func(_, _ [16]byte, _ int) ([]Booked, bool, error) { return nil, false, gone }},
	} {
		if _, err := Check(strings.NewReader(csvOf(headerLine(), "base")), Settings{}, known); !errors.Is(err, gone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPanicEndsTheCheck: a goroutine that panics fails its file, and nothing else.
func TestPanicEndsTheCheck(t *testing.T) {
	t.Parallel()
	file := csvOf(headerLine(), strings.Repeat("base\n", 1000)) // more than is read with the header
	for name, check := range map[string]func() (*Result, error){
		"reading": func() (*Result, error) {
			return Check(panickingReader{strings.NewReader(file)}, Settings{Encoding: "UTF-8"}, Known{})
		},
		"judging": func() (*Result, error) {
			return Check(strings.NewReader(file), Settings{}, Known{Bound: func([]Binding) (map[Binding]bool, error) { panic("boom") }})
		},
		"comparing": func() (*Result, error) {
			return Check(strings.NewReader(file), Settings{}, Known{Booked: func(_, _ [16]byte, _ int) ([]Booked, bool, error) { panic("boom") }})
		},
	} {
		if _, err := check(); err == nil || !strings.Contains(err.Error(), "panic: boom") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// panickingReader gives the whole file, and panics where it has to tell the end.
type panickingReader struct{ *strings.Reader }

func (r panickingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		panic("boom")
	}
	return n, nil
}

// TestBookedIsAskedFor: whatever part of the books a question is answered with, every item of the file is compared with its own
// rows; and the questions are few, in books that have nothing, the same, or far more.
func TestBookedIsAskedFor(t *testing.T) {
	t.Parallel()
	var rows strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&rows, "sku=S-%d\nsku=S-%d\n", i, i)
	}
	file := csvOf(headerLine(), rows.String())
	var booked []Booked
	for i, row := range rowsOf(mustCheck(t, file)) {
		booked = append(booked, Booked{Item: row.Item, At: row.At, Currency: row.Currency, Amount: row.Amount, Shipped: row.Shipped, ShipDetail: row.ShipDetail + int64(i%2), Line: i})
		for n := range 9 { // what the file does not have
			other := row.Item
			other[15] += byte(n + 1)
			booked = append(booked, Booked{Item: other, Currency: "EUR", Amount: 1})
		}
	}
	slices.SortFunc(booked, func(a, b Booked) int { return bytes.Compare(a.Item[:], b.Item[:]) })
	for name, c := range map[string]struct {
		books         []Booked
		updates, most int
	}{
		"nothing":  {nil, 0, 256},
		"the same": {slices.DeleteFunc(slices.Clone(booked), func(b Booked) bool { return b.Currency == "EUR" }), 1250, 512},
		"far more": {booked, 1250, 4000},
	} {
		var asked, bound atomic.Int32
		res, err := Check(strings.NewReader(file), Settings{}, Known{
			Bound: func(of []Binding) (map[Binding]bool, error) { bound.Add(1); return map[Binding]bool{of[0]: true}, nil },
			Booked: func(first, last [16]byte, most int) (rows []Booked, more bool, err error) {
				asked.Add(1)
				from, _ := slices.BinarySearchFunc(c.books, first, func(b Booked, k [16]byte) int { return bytes.Compare(b.Item[:], k[:]) })
				for ; from < len(c.books) && bytes.Compare(c.books[from].Item[:], last[:]) <= 0; from++ {
					if len(rows) >= most {
						return rows, true, nil
					}
					rows = append(rows, c.books[from])
				}
				return rows, false, nil
			},
		})
		if err != nil || res.Rejected != 0 || bound.Load() != 1 || int(asked.Load()) > c.most {
			t.Errorf("%s: %v, %d rejected, asked %d and %d times", name, err, res.Rejected, bound.Load(), asked.Load())
		}
		if fresh := 2500 - min(2500, len(c.books)); res.Fresh != fresh || res.Updates != c.updates || res.Repeats != 5000-fresh-c.updates {
			t.Errorf("%s: fresh %d, updates %d, repeats %d", name, res.Fresh, res.Updates, res.Repeats)
		}
	}
}

// TestManyRows: a file of which most lies on disk is judged like any other.
func TestManyRows(t *testing.T) {
	t.Parallel()
	const many = 300_000
	var rows strings.Builder
	for i := range many {
		fmt.Fprintf(&rows, "orderId=PI-%d; sku=S-%d; transactionAmount=%d.00\n", i%(many/2), i%7, 1+i%9)
	}
	res := mustCheck(t, csvOf(headerLine(), rows.String()+"orderId=PI-5; sku=S-5; transactionAmount=-8.00; transactionTime=2026-01-01 00:00:00\n"))
	defer res.Close()
	if res.spool.file == nil {
		t.Error("nothing was put aside")
	}
	n, sum, last := 0, int64(0), Row{}
	if err := res.EachRow(func(rows []Row) error {
		for _, r := range rows {
			if c := bytes.Compare(last.Item[:], r.Item[:]); c > 0 || c == 0 && last.At > r.At {
				t.Errorf("line %d comes after line %d", r.Line, last.Line)
			}
			n, sum, last = n+1, sum+r.Amount, r
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if part := res.Parts[0]; n != res.Fresh || n+res.Repeats != res.Accepted || sum != part.Shipped+part.Unshipped || res.Total != many+1 {
		t.Errorf("%d rows sum to %d; %+v; %d + %d of %d", n, sum, part, res.Accepted, res.Rejected, res.Total)
	}
}

func TestOneBadQuoteCostsOneLine(t *testing.T) {
	t.Parallel()
	good := csvOf(headerLine(), "base\nsku=SKU-2\n")
	lines := strings.SplitAfter(good, "\n")
	for _, bad := range []string{`"open,`, `a"b,`, `"a"b,`, `,"`, `"""`} {
		res := mustCheck(t, lines[0]+bad+"\n"+lines[1]+lines[2])
		if res.Total != 3 || res.Accepted != 2 || len(res.Problems) == 0 || res.Problems[0].Line != 2 {
			t.Errorf("%s: %s", bad, describe(res))
		}
	}
}

func TestLongLineEndsTheReading(t *testing.T) {
	t.Parallel()
	good := csvOf(headerLine(), "base\n")
	for _, long := range []string{strings.Repeat("x", 2*maxRecord), `"` + strings.Repeat("x", 2*maxRecord)} {
		res := mustCheck(t, good+long+"\n"+good)
		if len(res.FileProblems) != 1 || !strings.Contains(res.FailReason(), "(line 3)") || res.Accepted != 0 {
			t.Error(describe(res))
		}
	}
	res := mustCheck(t, good+"\"open\n"+strings.Repeat(strings.Repeat("x", 1023)+"\n", 2*maxRecord>>10))
	if res.Total != 2+2*maxRecord>>10 || res.FailReason() == "" {
		t.Errorf("%d rows, %s", res.Total, res.FailReason())
	}
}

func TestOurTextIsNoFormula(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":          "",
		"plain":     `"plain"`,
		"=1+1":      `"'=1+1"`,
		"-a, \"b\"": `"'-a, ""b"""`,
	} {
		if got := quote(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestSummaryFields(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(Summary{RequestNo: "TDU-1", Status: "FAILED", Attempt: 2, TotalRows: 3, AcceptedRows: 1, RejectedRows: 2,
		SHA256: "ab", FailReason: "file: is cut", FinishedAt: "2025-09-03T06:05:00Z", Broken: []Broken{{"country.form", false, 2, []int{2, 3}, "country: is not"}}, Warnings: []Warning{{4, "row: odd"}}, RefusedUploads: []RefusedUpload{{"cd", "2025-09-03T07:00:00Z"}}})
	want := `{"requestNo":"TDU-1","status":"FAILED","attempt":2,"totalRows":3,"acceptedRows":1,"rejectedRows":2,"sha256":"ab",` +
		`"failReason":"file: is cut","finishedAt":"2025-09-03T06:05:00Z","broken":[{"rule":"country.form","count":2,"lines":[2,3],"example":"country: is not"}],"warnings":[{"line":4,"text":"row: odd"}],"refusedUploads":[{"sha256":"cd","at":"2025-09-03T07:00:00Z"}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// Every text of ours has to be ASCII, which is the same in all encodings, and without the mark that joins problems.
func TestOurTextsAreASCII(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, r := range Rules() {
		kind, _, _ := strings.Cut(r.Name, ".")
		if names[r.Name] || (kind == "file") != r.File || kind != "file" && kind != "row" {
			t.Errorf("rule %q", r.Name)
		}
		names[r.Name] = true
		if text := r.Column + r.Wrong + r.Fix; !isASCII([]byte(text)) || strings.Contains(text, "|") || r.Wrong == "" || r.Fix == "" {
			t.Errorf("%q", text)
		}
	}
	for _, c := range Columns() {
		if !isASCII([]byte(c.Name+c.Rule)) || c.Rule == "" {
			t.Errorf("%q", c.Rule)
		}
	}
}

func TestSumsThatDoNotFit(t *testing.T) {
	t.Parallel()
	res, err := Check(strings.NewReader(csvOf(headerLine(), "base\nsku=SKU-2; country=XX")), Settings{}, Known{
		Booked: func(first, _ [16]byte, _ int) ([]Booked, bool, error) {
			return []Booked{{Item: first, At: -1, Currency: "USD", Amount: math.MaxInt64}}, true, nil
		},
	})
	// The wrong row adds nothing, so its item still fits.
	if err != nil || res.Rejected != 2 || len(res.Problems) != 2 || res.Problems[0].Wrong != rules[rowSum].Wrong {
		t.Error(err, describe(res))
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriteFaultsAreTold(t *testing.T) {
	t.Parallel()
	file := csvOf(headerLine(), "base")
	if err := WriteErrorFile(brokenWriter{}, strings.NewReader(file), mustCheck(t, file), true); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// A mend is offered where nothing is lost by it and nothing to be decided.
func TestMendsThatAreCertain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		column     string
		cell, mend string // no mend: what the sender has to decide
	}{
		{"sellerId", " SELLER-1\u00a0", "SELLER-1"},
		{"orderId", "'00123", "00123"},
		{"orderId", " ''00123 ", "00123"},
		{"sku", `="00123"`, "00123"},
		{"sku", `="1"&"2"`, ""},
		{"sku", `=""`, ""},
		{"sku", "'1.23457E+11", ""},
		{"sku", "'#N/A", ""},
		{"sku", "A\u200b", ""},
		{"sku", "A\tB", ""},
		{"sku", "TRUE", ""},
		{"sku", " " + strings.Repeat("x", 33), ""},
		{"transactionTime", "2025/9/3 8:05", ""}, // its seconds may have been cut off, whatever else is wrong
		{"transactionTime", "25/12/2025 8:05", ""},
		{"transactionTime", "2025/9/3 8:05 PM", ""},
		{"transactionTime", "2025-09-03T08:05Z", ""},
		{"shippingTime", "25/12/2025 8:05", "2025-12-25 08:05:00"},
		{"shippingTime", "2025/9/3 8:05 PM", "2025-09-03 20:05:00"},
		{"transactionTime", "25/12/2025 8:05:07", "2025-12-25 08:05:07"},
		{"transactionTime", "3/3/2025 8:05:07", "2025-03-03 08:05:07"},
		{"transactionTime", "3/9/2025 8:05:07", ""},
		{"transactionTime", "25/12/2025 8:05:07 UTC", ""},
		{"transactionTime", "25/12/2025T08:05:07", ""},
		{"transactionTime", "2025/9/3 8:05:07 p.m.", "2025-09-03 20:05:07"},
		{"transactionTime", "2025/9/3 8:05:07 PM EST", ""},
		{"transactionTime", "2025/9/3 12:05:07 AM", "2025-09-03 00:05:07"},
		{"transactionTime", "2025/9/3 14:05:07 AM", ""},
		{"transactionTime", "2025/9/3 14:05:07 PM", ""},
		{"transactionTime", "2025/9/3 0:05:07 PM", ""},
		{"transactionTime", "2025/9/3 AM 8:05:07 PM", ""},
		{"transactionTime", "2025\u5e749\u67083\u65e5 \u4e0b\u53488:05:07", "2025-09-03 20:05:07"},
		{"transactionTime", "2025\u5e749\u67083\u65e5 08:05:07", "2025-09-03 08:05:07"},
		{"transactionTime", "2025-09-03 8:05:07 UTC", "2025-09-03T08:05:07Z"},
		{"transactionTime", "2025-09-03 08:05:07.25 +0900", "2025-09-03T08:05:07.25+09:00"},
		{"transactionTime", "2025-09-03 08:05:07.123456Z", ""},
		{"transactionTime", "2025-09-03 about 08:05:07", ""},
		{"transactionTime", "2025-09-03T08:05:07", ""},
		{"transactionTime", "20250903080507", "2025-09-03 08:05:07"},
		{"transactionTime", "1756879500", ""},
		{"transactionTime", "1756879500123000", "1756879500123"},
		{"transactionTime", "1756879500123456", ""},
		{"estimatedShippingTime", "25/12/2025 8:05:07", ""}, // or the cell may be left empty
		{"transactionCurrency", "usd", "USD"},
		{"transactionCurrency", "RMB", ""},
		{"transactionAmount", "1.234,50", "1234.50"},
		{"transactionAmount", "(100.00)", "-100"},
		{"transactionAmount", "100-", "-100"},
		{"transactionAmount", "(-100)", ""},
		{"transactionAmount", "100.-", ""}, // a whole amount, in Switzerland
		{"transactionAmount", "USD 100,\u2013", ""},
		{"transactionAmount", "+-100", ""},
		{"transactionAmount", "USD 100", "100"},
		{"transactionAmount", "CNY 100", ""},
		{"transactionAmount", "$100", ""},
		{"transactionAmount", "1,234", ""},
		{"transactionAmount", "1.5E+05", ""},
		{"transactionAmount", "0.001", ""},
		{"productQuantity", "03", "3"},
		{"productQuantity", "4.000", ""},
		{"productUnitPrice", "-5,00", ""},
		{"shippingStatus", "not-shipped", notShipped},
		{"shippingStatus", "sent", ""},
		{"country", "u.s.", "USA"},
		{"country", "chn", "CHN"},
		{"country", "China", ""},
		{"storeUrl", "store.example.com", ""},
		{"buyerName", "#N/A", ""},
	} {
		r := &reading{zone: zoneAt(t, "8")}
		column, _ := columnNamed(test.column)
		r.shipping, r.row.Currency, r.cells[column] = isShipped, "USD", test.cell
		if _, f := r.cellProblem(column); f.wrong == "" || f.mend != test.mend {
			t.Errorf("%s %q: %s; %s: mended as %q, want %q", test.column, test.cell, f.wrong, f.fix, f.mend, test.mend)
		}
	}
}
