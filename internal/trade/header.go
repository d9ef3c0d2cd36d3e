package trade

import (
	"strconv"
	"strings"
)

// reportColumns are what the error file adds. A mended error file can be sent as it is: they are left out then.
var reportColumns = [3]string{"lineNumber", "errorCount", "errors"}

// header tells where the columns of a file are.
type header struct {
	size      int   // cells
	own       []int // which of them are the sender's, not the error file's
	columns   []int // of those, in the same order
	extraLast bool  // the error file's columns come last, so that rows may do without them
	problems  []Problem
}

// cells finds the sender's cells of a record. They fit when there is one for each column, in the order of h.columns.
//
// What an error file added is told by the size of the record or, where the sender's cells are too few or too many, by the two
// numbers near its end. Without that an error file sent back would make a short row whole.
func (h header) cells(rec record, enc encoding) (cells []span, fit bool) {
	n := len(rec.cells)
	switch {
	case !h.extraLast && n != h.size:
		return rec.cells, false
	case !h.extraLast:
		for _, i := range h.own {
			cells = append(cells, rec.cells[i])
		}
		return cells, true
	case n == h.size:
		n = columnCount
	case h.size > columnCount && n > 3 && isNumber(rec, n-3, enc) && isNumber(rec, n-2, enc):
		n -= 3
	}
	return rec.cells[:n], n == columnCount
}

func isNumber(rec record, cell int, enc encoding) bool {
	text, _ := enc.decode(rec.raw[rec.cells[cell].from:rec.cells[cell].to])
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil
}

func readHeader(rec record, enc encoding) header {
	refuse := func(column string, rule ruleID) Problem {
		p := finding{rule: rule, other: int32(rec.line), name: enc.name}.problem()
		p.Line, p.Column = 0, column
		return p
	}
	text, ok := enc.decode(rec.raw)
	switch {
	case !ok:
		return header{problems: []Problem{refuse("", fileUndecodable)}}
	case strings.IndexByte(text, 0) >= 0:
		return header{problems: []Problem{refuse("", fileNUL)}}
	case rec.cells == nil:
		return header{problems: []Problem{refuse("", fileHeaderQuotes)}}
	case len(rec.cells) == 1 && strings.ContainsAny(text, ";\t"):
		return header{problems: []Problem{refuse("", fileSeparator)}}
	case strings.ContainsRune(text, '\r'):
		return header{problems: []Problem{refuse("", fileLineEnds)}}
	}
	h := header{size: len(rec.cells)}
	seen := make(map[string]int)
	for i, s := range rec.cells {
		cell, _ := enc.decode(rec.raw[s.from:s.to])
		name := strings.TrimSpace(unquote(cell))
		column, known := columnNamed(name)
		folded := strings.ToLower(name)
		seen[folded]++
		switch {
		case !known:
			h.problems = append(h.problems, refuse(shorten(name), fileUnknown))
		case seen[folded] == 2:
			h.problems = append(h.problems, refuse(name, fileTwice))
		case column >= 0:
			h.own, h.columns = append(h.own, i), append(h.columns, column)
			h.extraLast = len(h.own) == i+1
		}
	}
	for _, c := range columns {
		if seen[strings.ToLower(c.Name)] == 0 {
			h.problems = append(h.problems, refuse(c.Name, fileMissing))
		}
	}
	return h
}

// columnNamed finds a column by its name, in any letter case; -1 and true for a column of the error file.
func columnNamed(name string) (column int, known bool) {
	for i := range columns {
		if strings.EqualFold(columns[i].Name, name) {
			return i, true
		}
	}
	for _, extra := range reportColumns {
		if strings.EqualFold(extra, name) {
			return -1, true
		}
	}
	return -1, false
}
