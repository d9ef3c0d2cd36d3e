package trade

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzCheck feeds anything, and then what it makes of it: the counts add up, every problem is on a line that there is,
// nothing counts in a file that is wrong as a whole, the error file has the same rows with the same outcome, and its sound
// rows alone are sound.
func FuzzCheck(f *testing.F) {
	paths, err := filepath.Glob("testdata/check/*.txt")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(parseStory(string(text)).sent(f))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		src := bytes.NewReader(file)
		res, err := Check(src, Settings{}, Known{})
		if err != nil {
			t.Fatal(err)
		}
		whole := len(res.FileProblems) == 0
		if res.Total != res.Accepted+res.Rejected || whole && res.Accepted != len(rowsOf(res))+res.Repeats || !whole && res.Accepted+len(rowsOf(res)) > 0 {
			t.Fatalf("counts do not add up: %s", describe(res))
		}
		for _, p := range res.Problems {
			if p.Line < 1 || p.Line > 1+bytes.Count(file, []byte("\n"))+bytes.Count(file, []byte("\r")) || p.Wrong == "" || p.Fix == "" || !isASCII([]byte(p.String())) || strings.ContainsAny(p.String(), "|\r\n") {
				t.Fatalf("a problem that cannot be told: %d %q", p.Line, p)
			}
		}
		var out bytes.Buffer
		if err := WriteErrorFile(&out, src, res, true); err != nil {
			t.Fatal(err)
		}
		again, err := Check(bytes.NewReader(out.Bytes()), Settings{}, Known{})
		if err != nil {
			t.Fatal(err)
		}
		switch h := res.checker.header; {
		case again.checker.enc != res.checker.enc, res.refused&(1<<fileUndecodable|1<<fileNUL) != 0:
			return // what decided on the encoding, or was no text, may have stood in the columns that were replaced
		case (len(file)-len(res.checker.enc.bom))%res.checker.enc.unit != 0:
			return // half a code unit at the end is left out of the error file
		case len(h.problems) > 0, res.More > 0:
			return // the rows, or all of their problems, cannot be compared
		case h.extraLast && (again.Total != res.Total || wrongRows(again) != wrongRows(res) || whole && len(again.FileProblems) > 0):
			t.Fatalf("another outcome\n%sof the error file\n%s\n%s", describe(res), out.String(), describe(again))
		case h.extraLast:
			if diff := cmp.Diff(sentCells(t, file, res), sentCells(t, out.Bytes(), again)); diff != "" {
				t.Fatalf("other rows in the error file: %s", diff)
			}
		}
		sound := soundRows(t, out.Bytes(), again)
		alone, err := Check(bytes.NewReader(sound), Settings{}, Known{})
		if err != nil {
			t.Fatal(err)
		}
		if alone.checker.enc != res.checker.enc {
			return
		}
		for _, p := range append(alone.FileProblems, alone.Problems...) {
			if !p.Warning && p.Wrong != rules[fileEmpty].Wrong {
				t.Fatalf("%s\nin the sound rows alone:\n%s\nof\n%s", p, sound, out.String())
			}
		}
	})
}

// soundRows is an error file without the rows that have errors, as somebody leaves it who removes them.
func soundRows(t *testing.T, file []byte, res *Result) []byte {
	enc := res.checker.enc
	split, err := newSplitter(bytes.NewReader(file), enc)
	if err != nil {
		t.Fatal(err)
	}
	sound := []byte(enc.bom)
	for headed := false; ; {
		rec, err := split.next()
		if err != nil {
			return sound
		}
		if enc.blank(rec.raw) {
			continue
		}
		keep := !headed
		if n := len(rec.cells); headed && n > 2 {
			count, _ := enc.decode(rec.raw[rec.cells[n-2].from:rec.cells[n-2].to])
			keep = count == "0"
		}
		if headed = true; keep {
			sound = append(append(sound, rec.raw...), rec.end...)
		}
	}
}

// wrongRows counts the rows with an error of their own, while all problems are kept.
func wrongRows(res *Result) int {
	lines := make(map[int]bool)
	for _, p := range res.Problems {
		if !p.Warning {
			lines[p.Line] = true
		}
	}
	return len(lines)
}

// sentCells are the bytes of the sender's own columns, for each row that could be taken apart.
func sentCells(t *testing.T, file []byte, res *Result) (rows [][]string) {
	split, err := newSplitter(bytes.NewReader(file), res.checker.enc)
	if err != nil {
		t.Fatal(err)
	}
	out := errorFile{enc: res.checker.enc, header: res.checker.header}
	for {
		rec, err := split.next()
		if err != nil {
			return rows
		}
		if rec.cells != nil && !out.enc.blank(rec.raw) {
			var cells []string
			for _, s := range out.sent(rec) {
				cells = append(cells, string(rec.raw[s.from:s.to]))
			}
			rows = append(rows, cells)
		}
	}
}

// What an error says to write.
var (
	timeToWrite   = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^ ,;]*`)
	numberToWrite = regexp.MustCompile(`write (-?[0-9.]+)(?: or (-?[0-9.]+))?(?: if thousands are meant)?$`)
)

// FuzzCell feeds any cell to every column: what is read is read the same again, what cannot be told apart from a strict form
// is that form, what an error says to write is accepted, and so is a mend, which is offered where nothing is to be chosen.
func FuzzCell(f *testing.F) {
	for _, s := range samples {
		for _, cell := range s.cells {
			f.Add(cell)
		}
	}
	for _, cell := range []string{"2025\u5e749\u67083\u65e5 \u4e0b\u53482:05:07", "2025-09-03 14:05:00.123456 +0800", "\uff11\uff0c\uff12\uff13\uff14.\uff15", "(US$1.234,5)", "#REF!", "05:07.0", "20250903140500", "=\"1\""} {
		f.Add(cell)
	}
	judged := func(column int, cell string) (as string, f fault) {
		r := &reading{zone: time.FixedZone("+08:00", 8*60*60)}
		r.shipping, r.row.Currency, r.cells[column] = isShipped, "USD", cell
		_, f = r.cellProblem(column)
		return r.cells[column], f
	}
	f.Fuzz(func(t *testing.T, cell string) {
		if !utf8.ValidString(cell) || strings.Contains(cell, "\x00") {
			return
		}
		for i, c := range columns {
			as, f := judged(i, cell)
			if text := f.wrong + f.fix; !isASCII([]byte(text)) || strings.ContainsAny(text, "|\r\n") || (f.wrong == "") != (f.fix == "") {
				t.Fatalf("%s %q: %q", c.Name, cell, text)
			}
			if again, f := judged(i, as); f.wrong != "" && as != cell || again != as {
				t.Errorf("%s %q is read as %q, which is read as %q, %s", c.Name, cell, as, again, f.wrong)
			}
			if f.mend != "" {
				if _, left := judged(i, f.mend); left.wrong != "" || f.mend == cell || strings.Contains(f.fix, " or ") || strings.Contains(f.fix, " if ") {
					t.Errorf("%s %q: %s; %s: mended as %q: %s", c.Name, cell, f.wrong, f.fix, f.mend, left.wrong)
				}
			}
			if (c.form == nil || c.form.read == nil) && as != cell {
				t.Errorf("%s %q has become %q", c.Name, cell, as)
			}
			var write []string
			switch {
			case f.wrong == "":
			case c.form == formMoment || c.form == formTime:
				write = timeToWrite.FindAllString(f.fix, -1)
			case c.form == formAmount || c.form == formPrice || c.form == formQuantity:
				if m := numberToWrite.FindStringSubmatch(f.fix); m != nil {
					write = m[1:]
				}
			}
			for _, w := range write {
				if as, left := judged(i, w); w != "" && (left.wrong != "" || as != w) {
					t.Errorf("%s %q: %s; %s, but %q: %s", c.Name, cell, f.wrong, f.fix, w, left.wrong)
				}
			}
		}
	})
}
