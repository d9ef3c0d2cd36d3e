package trade

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// encoding is how a file writes its text. In all of them a comma, a quote or a line end can be told by looking at one code
// unit alone (no second byte of GB18030 is any of these), so records are cut on the bytes as sent and decoded afterwards.
type encoding struct {
	name string
	bom  string // the mark that this file starts with, empty when it has none
	unit int    // bytes of a code unit
	big  bool   // of UTF-16: high byte first
}

// untold is the encoding of a file that is neither UTF-8 nor looks Chinese: only its ASCII is text.
const untold = "UTF-8 or GB18030"

// marked tells the encoding of a file that says it at its start: by its mark, or by the zero bytes of UTF-16.
func marked(start []byte) (e encoding, ok bool) {
	for _, e := range []encoding{
		{"UTF-8", "\xef\xbb\xbf", 1, false},
		{"UTF-16", "\xff\xfe", 2, false},
		{"UTF-16", "\xfe\xff", 2, true},
		{"GB18030", "\x84\x31\x95\x33", 1, false},
	} {
		if bytes.HasPrefix(start, []byte(e.bom)) {
			return e, true
		}
	}
	if len(start) >= 4 && (start[0] == 0) != (start[1] == 0) && (start[0] == 0) == (start[2] == 0) && (start[1] == 0) == (start[3] == 0) {
		return encoding{"UTF-16", "", 2, start[0] == 0}, true
	}
	return encoding{}, false
}

// detect reads src to tell its encoding: to its end, unless its start tells it, or known is the name that an earlier look at
// all of it has found.
func detect(src io.Reader, known string) (encoding, error) {
	start := make([]byte, 4)
	n, err := io.ReadFull(src, start)
	start = start[:n]
	if err = ignoreEnd(err); err != nil {
		return encoding{}, err
	}
	if e, ok := marked(start); ok {
		return e, nil
	}
	if known != "" {
		return encoding{known, "", 1, false}, nil
	}
	g := newGuesser()
	_, err = io.Copy(g, io.MultiReader(bytes.NewReader(start), src))
	return g.encoding(), err
}

// guesser tells the encoding of what is written to it: as its start says, and otherwise UTF-8 unless most of what is not
// ASCII cannot be that. One wrong byte in a Chinese UTF-8 file thus stays an error that can be shown, instead of turning the
// file into other characters. What is not UTF-8 is GB18030 if most of it looks Chinese: almost any Western text can be read
// as GB18030 too, so that a Western u umlaut and the n behind it would become one Chinese character.
type guesser struct {
	buf                           []byte // what is not counted yet
	told                          *encoding
	begun                         bool
	good, wrong, chinese, western int
}

func newGuesser() *guesser { return &guesser{buf: make([]byte, 0, 64<<10)} }

// Write counts in pieces of one size, so that the guess does not hang on how the file comes in.
func (g *guesser) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(len(p), cap(g.buf)-len(g.buf))
		g.buf, p = append(g.buf, p[:n]...), p[n:]
		if len(g.buf) == cap(g.buf) {
			g.count(false)
		}
	}
	return written, nil
}

func (g *guesser) count(end bool) {
	if !g.begun {
		g.begun = true
		if e, ok := marked(g.buf); ok {
			g.told = &e
		}
	}
	if g.told != nil {
		g.buf = g.buf[:0]
		return
	}
	good, wrong, rest := countUTF8(g.buf, end)
	g.good, g.wrong = g.good+good, g.wrong+wrong
	if wrong > 0 {
		chinese, western := countGB(g.buf[:len(g.buf)-len(rest)])
		g.chinese, g.western = g.chinese+chinese, g.western+western
	}
	g.buf = append(g.buf[:0], rest...)
}

// encoding ends the writing.
func (g *guesser) encoding() encoding {
	g.count(true)
	switch {
	case g.told != nil:
		return *g.told
	case g.wrong > g.good && g.chinese > g.western:
		return encoding{"GB18030", "", 1, false}
	case g.wrong > g.good:
		return encoding{untold, "", 1, false}
	}
	return encoding{"UTF-8", "", 1, false}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// countUTF8 counts the continuation bytes of whole characters and the bytes that belong to none. Unless the text ends with
// p, a character that is still incomplete is the rest.
func countUTF8(p []byte, end bool) (good, wrong int, rest []byte) {
	if utf8.Valid(p) {
		return len(p) - utf8.RuneCount(p), 0, nil
	}
	for len(p) > 0 {
		if !end && !utf8.FullRune(p) {
			return good, wrong, p
		}
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			wrong++
		} else {
			good += size - 1
		}
		p = p[size:]
	}
	return good, wrong, nil
}

// countGB counts characters of GB18030 that are common in Chinese text, whose second byte is not ASCII or which have four
// bytes, and what else has its highest bit set.
func countGB(p []byte) (chinese, other int) {
	isDigit := func(i int) bool { return i < len(p) && p[i] >= '0' && p[i] <= '9' }
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] < utf8.RuneSelf:
		case i+1 < len(p) && p[i+1] >= utf8.RuneSelf:
			chinese++
			i++
		case isDigit(i+1) && isDigit(i+3) && p[i+2] >= utf8.RuneSelf:
			chinese++
			i += 3
		default:
			other++
		}
	}
	return chinese, other
}

// at is the code unit that starts at p[i].
func (e encoding) at(p []byte, i int) uint16 {
	switch {
	case e.unit == 1:
		return uint16(p[i])
	case e.big:
		return uint16(p[i])<<8 | uint16(p[i+1])
	default:
		return uint16(p[i+1])<<8 | uint16(p[i])
	}
}

// lineEnds counts the line ends that an editor shows in whole lines: LF, CR LF and CR alone.
func (e encoding) lineEnds(p []byte) int {
	if e.unit == 1 {
		n := bytes.Count(p, []byte("\n"))
		if bytes.IndexByte(p, '\r') >= 0 {
			n += bytes.Count(p, []byte("\r")) - bytes.Count(p, []byte("\r\n"))
		}
		return n
	}
	n, before := 0, uint16(0)
	for i := 0; i+e.unit <= len(p); i += e.unit {
		c := e.at(p, i)
		if c == '\r' || c == '\n' && before != '\r' {
			n++
		}
		before = c
	}
	return n
}

// blank tells whether there is nothing in a record; spreadsheets leave such lines at the end.
func (e encoding) blank(raw []byte) bool {
	for i := 0; i+e.unit <= len(raw); i += e.unit {
		switch e.at(raw, i) {
		case ',', ' ', '\t', '\r':
		default:
			return false
		}
	}
	return len(raw)%e.unit == 0
}

// decode is the text of p, and whether all of p is text in this encoding.
func (e encoding) decode(p []byte) (string, bool) {
	switch {
	case e.unit == 2:
		return e.decode16(p)
	case e.name == "UTF-8":
		return string(p), utf8.Valid(p)
	case isASCII(p), e.name == untold:
		return string(p), isASCII(p)
	default:
		text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(p)
		return string(text), err == nil && !bytes.ContainsRune(text, utf8.RuneError)
	}
}

func (e encoding) decode16(p []byte) (string, bool) {
	var b strings.Builder
	ok := len(p)%2 == 0
	for i := 0; i+1 < len(p); i += 2 {
		r := rune(e.at(p, i))
		if utf16.IsSurrogate(r) {
			low := rune(0)
			if i+3 < len(p) {
				low = rune(e.at(p, i+2))
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				ok = false
			} else {
				i += 2
			}
		}
		b.WriteRune(r)
	}
	return b.String(), ok
}

// firstWrong is where in a decoded text the first of what is no text stands.
func (e encoding) firstWrong(text string) int {
	for i, r := range text {
		if r == utf8.RuneError && (e.name != "UTF-8" || !strings.HasPrefix(text[i:], "\ufffd")) {
			return i
		}
	}
	return len(text)
}

// endsInHalf tells whether the only thing wrong with p is that its last character is not whole: the file was cut.
func (e encoding) endsInHalf(p []byte) bool {
	for n := 1; n < 4 && n < len(p); n++ {
		if _, ok := e.decode(p[:len(p)-n]); ok {
			half := p[len(p)-n:]
			switch {
			case e.unit == 2:
				return n == 1 || n == 2 && utf16.IsSurrogate(rune(e.at(half, 0))) || n == 3
			case e.name == "UTF-8":
				return !utf8.FullRune(half)
			default:
				return half[0] > 0x80 && half[0] < 0xff && (n == 1 || half[1] >= '0' && half[1] <= '9')
			}
		}
	}
	return false
}

func isASCII(p []byte) bool {
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// canWrite tells whether encode keeps a text. Some of GB18030's characters for private use it does not.
func (e encoding) canWrite(text string) bool {
	back, ok := e.decode(e.encode(text))
	return ok && back == text
}

// encode writes text in this encoding.
func (e encoding) encode(text string) []byte {
	if e.unit == 1 {
		if e.name == "GB18030" && !isASCII([]byte(text)) {
			text, _ = simplifiedchinese.GB18030.NewEncoder().String(text)
		}
		return []byte(text)
	}
	wide := make([]byte, 0, 2*len(text))
	for _, u := range utf16.Encode([]rune(text)) {
		if e.big {
			wide = append(wide, byte(u>>8), byte(u))
		} else {
			wide = append(wide, byte(u), byte(u>>8))
		}
	}
	return wide
}
