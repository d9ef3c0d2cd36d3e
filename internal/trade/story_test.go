package trade

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/openinfinia/infinia/money"
)

var update = flag.Bool("update", false, "rewrite the stories with what comes out")

// marks stand in stories for what an editor would not show.
var marks = []string{"<CR>", "\r", "<LF>", "\n", "<TAB>", "\t", "<BOM>", "\ufeff", "<NBSP>", "\u00a0", "<ZWSP>", "\u200b", "<LOST>", "\ufffd", "<NUL>", "\x00"}

// TestStories runs testdata/check/*.txt. A story has sections as in txtar:
//
//	file.csv  the file as sent, or
//	rows      its rows, each by what differs from baseRow ("sku=K-2; transactionAmount=-5.00", or "base")
//	options   encoding (utf-8, bom, utf-16le, utf-16be, bare-utf-16le, bare-utf-16be, gb18030, latin-1), lines (lf, crlf, cr), end (bare: no last line
//	          end), zone (an offset in hours), break (OLD by NEW, both as Go strings, once, after encoding)
//	known     what was accepted before: "unbound SELLER CURRENCY", or "FILE:LINE row", the row as in rows; "nobody" where no
//	          database is asked
//	report    the outcome
//	all.csv, rejected.csv   the error file that comes of it, shown as UTF-8
//	mends, fixed.csv        what Fix mends, and the file that comes of it
//
// Marks such as <NBSP> stand for what an editor would not show.
func TestStories(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/check/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := parseStory(string(text))
			s.run(t)
			if got := s.String(); *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("the outcome differs (-story +got; -update rewrites it):\n%s", diff)
			}
		})
	}
}

type story struct {
	comment  string
	order    []string
	sections map[string]string
}

func parseStory(text string) *story {
	s := &story{sections: make(map[string]string)}
	name := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "-- ") && strings.HasSuffix(line, " --\n") {
			name = strings.TrimSpace(line[3 : len(line)-4])
			s.order = append(s.order, name)
		} else if name == "" {
			s.comment += line
		} else {
			s.sections[name] += line
		}
	}
	if _, ok := s.sections["report"]; !ok && !strings.Contains(strings.Join(s.order, " "), "report") {
		s.order = append(s.order, "report")
	}
	return s
}

func (s *story) String() string {
	b := strings.Builder{}
	b.WriteString(s.comment)
	for _, name := range s.order {
		fmt.Fprintf(&b, "-- %s --\n%s", name, s.sections[name])
	}
	return b.String()
}

func (s *story) option(name string) string {
	for line := range strings.Lines(s.sections["options"]) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSuffix(value, "\n")
		}
	}
	return ""
}

func (s *story) run(t *testing.T) {
	src := bytes.NewReader(s.sent(t))
	set := Settings{}
	if zone := s.option("zone"); zone != "" {
		set.Zone = zoneAt(t, zone)
	}
	res, err := Check(src, set, s.known(t))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if res.Total != res.Accepted+res.Rejected {
		t.Errorf("%d rows, but %d + %d", res.Total, res.Accepted, res.Rejected)
	}
	s.sections["report"] = describe(res)
	for _, name := range []string{"all.csv", "rejected.csv"} {
		if _, wanted := s.sections[name]; wanted || strings.Contains(strings.Join(s.order, " "), name) {
			var out bytes.Buffer
			if err := WriteErrorFile(&out, src, res, name == "all.csv"); err != nil {
				t.Fatal(err)
			}
			s.sections[name] = show(t, res.checker.enc, out.Bytes())
		}
	}
	if _, wanted := s.sections["fixed.csv"]; wanted || slices.Contains(s.order, "fixed.csv") {
		var out, mends strings.Builder
		fixed, err := Fix(&out, src, set)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range fixed.Problems {
			if p.Remove {
				fmt.Fprintf(&mends, "line %d: removed\n", p.Line)
			} else {
				fmt.Fprintf(&mends, "line %d: %s: %s by %s\n", p.Line, p.Column, p.Value, p.Mend)
			}
		}
		s.sections["mends"], s.sections["fixed.csv"] = mends.String(), show(t, res.checker.enc, []byte(out.String()))
	}
}

// known answers from the rows in the section of that name; sellers are bound unless it says otherwise.
func (s *story) known(t *testing.T) Known {
	if strings.TrimSpace(s.sections["known"]) == "nobody" {
		return Known{}
	}
	unbound := make(map[string]bool)
	var booked []Booked
	for line := range strings.Lines(s.sections["known"]) {
		where, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		if where == "unbound" {
			unbound[what] = true
			continue
		}
		file, number, _ := strings.Cut(where, ":")
		at, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("known %q: %v", line, err)
		}
		res, err := Check(strings.NewReader(csvOf(headerLine(), what)), Settings{}, Known{})
		if err != nil || res.Fresh != 1 {
			t.Fatalf("known %q: %v, %v", line, err, res)
		}
		row := rowsOf(res)[0]
		booked = append(booked, Booked{row.Item, row.At, row.Currency, row.Amount, row.Shipped, row.ShipDetail, file, at})
	}
	slices.SortStableFunc(booked, func(a, b Booked) int { return bytes.Compare(a.Item[:], b.Item[:]) })
	return Known{
		Bound: func(of []Binding) (map[Binding]bool, error) {
			bound := make(map[Binding]bool)
			for _, k := range of {
				bound[k] = !unbound[k.SellerID+" "+string(k.Currency)]
			}
			return bound, nil
		},
		Booked: func(first, last [16]byte, most int) (rows []Booked, more bool, err error) {
			for _, b := range booked {
				if bytes.Compare(b.Item[:], first[:]) >= 0 && bytes.Compare(b.Item[:], last[:]) <= 0 {
					rows = append(rows, b)
				}
			}
			return rows, false, nil
		},
	}
}

// rowsOf are the rows to be booked, by line.
func rowsOf(res *Result) (rows []Row) {
	if err := res.EachRow(func(some []Row) error { rows = append(rows, some...); return nil }); err != nil {
		panic(err)
	}
	slices.SortFunc(rows, func(a, b Row) int { return a.Line - b.Line })
	return rows
}

// sent is the file of the story.
func (s *story) sent(t testing.TB) []byte {
	text := s.sections["file.csv"]
	if rows, ok := s.sections["rows"]; ok {
		text = csvOf(headerLine(), rows)
	}
	return s.encode(t, text)
}

// encode makes the bytes that the options ask for.
func (s *story) encode(t testing.TB, text string) []byte {
	if s.option("end") == "bare" {
		text = strings.TrimSuffix(text, "\n")
	}
	switch s.option("lines") {
	case "crlf":
		text = strings.ReplaceAll(text, "\n", "\r\n")
	case "cr":
		text = strings.ReplaceAll(text, "\n", "\r")
	}
	text = strings.NewReplacer(marks...).Replace(text)
	var p []byte
	switch s.option("encoding") {
	case "", "utf-8":
		p = []byte(text)
	case "bom":
		p = []byte("\ufeff" + text)
	case "utf-16le":
		p = wide("\ufeff"+text, false)
	case "utf-16be":
		p = wide("\ufeff"+text, true)
	case "bare-utf-16le":
		p = wide(text, false)
	case "bare-utf-16be":
		p = wide(text, true)
	case "latin-1":
		var err error
		if p, err = charmap.ISO8859_1.NewEncoder().Bytes([]byte(text)); err != nil {
			t.Fatal(err)
		}
	case "gb18030":
		var err error
		if p, err = simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(text)); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("unknown encoding %q", s.option("encoding"))
	}
	if from, to, ok := strings.Cut(s.option("break"), " by "); ok {
		from, err1 := strconv.Unquote(from)
		to, err2 := strconv.Unquote(to)
		if err1 != nil || err2 != nil || !bytes.Contains(p, []byte(from)) {
			t.Fatalf("cannot break %q", s.option("break"))
		}
		p = bytes.Replace(p, []byte(from), []byte(to), 1)
	}
	return p
}

func wide(text string, big bool) []byte {
	var p []byte
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			p = append(p, byte(u>>8), byte(u))
		} else {
			p = append(p, byte(u), byte(u>>8))
		}
	}
	return p
}

// show makes an error file readable: as UTF-8, its mark and carriage returns spelled out.
func show(t *testing.T, enc encoding, p []byte) string {
	rest, ok := bytes.CutPrefix(p, []byte(enc.bom))
	if !ok {
		t.Errorf("the error file lost the byte order mark")
	}
	text, ok := enc.decode(rest)
	if !ok {
		text = strings.ToValidUTF8(text, "<?>")
	}
	if enc.bom != "" {
		text = "<BOM>" + text
	}
	visible := make([]string, 0, len(marks))
	for i := 0; i < len(marks); i += 2 {
		if marks[i] != "<LF>" && marks[i] != "<TAB>" {
			visible = append(visible, marks[i+1], marks[i])
		}
	}
	return strings.NewReplacer(visible...).Replace(text)
}

func describe(res *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rows %d: accepted %d, rejected %d", res.Total, res.Accepted, res.Rejected)
	if res.Repeats > 0 {
		fmt.Fprintf(&b, ", repeats %d", res.Repeats)
	}
	b.WriteString("\n")
	for _, p := range res.FileProblems {
		fmt.Fprintln(&b, p)
	}
	for _, p := range res.Problems {
		fmt.Fprintf(&b, "line %d: %s\n", p.Line, p)
	}
	for _, r := range res.Broken {
		fmt.Fprintf(&b, "%s %dx", r.Rule, r.Count)
		if len(r.Lines) > 0 {
			fmt.Fprintf(&b, ", line %s", strings.Trim(fmt.Sprint(r.Lines), "[]"))
		}
		b.WriteString("\n")
	}
	for _, r := range rowsOf(res) {
		verb, state := "book", notShipped
		if r.Update {
			verb = "update"
		}
		if r.Shipped {
			state = isShipped
		}
		fmt.Fprintf(&b, "%s line %d: %s %s %s at %d, %s\n", verb, r.Line, r.SellerID, money.Amount{Minor: r.Amount, Currency: r.Currency}, r.Currency, r.At, state)
	}
	return b.String()
}

var baseRow = [columnCount]string{"SELLER-1", "PI-1", "SKU-1", "2025-09-03 10:00:00", "USD", "100.00", "A01", "Lamp", "4", "25.00",
	isShipped, "", "TN-1", "SF Express", "2025-09-04 09:00:00", "CHN", "https://store.example.com/acme", "", ""}

func headerLine() []string {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	return names
}

// csvOf writes a file of rows, each told by what differs from baseRow.
func csvOf(header []string, rows string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(header)
	for line := range strings.Lines(rows) {
		cells := baseRow
		for change := range strings.SplitSeq(strings.TrimSpace(line), "; ") {
			if name, value, ok := strings.Cut(change, "="); ok {
				i, known := columnNamed(name)
				if !known {
					panic("no column " + name)
				}
				cells[i] = strings.NewReplacer(marks...).Replace(value)
			}
		}
		_ = w.Write(cells[:])
	}
	w.Flush()
	return b.String()
}
