package sample

import (
	"io"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// Encoding is how a file writes its text.
type Encoding string

// The encodings of trade files. UTF-16 has its low byte first and a mark, as Windows writes it.
const (
	UTF8     Encoding = "utf-8"
	UTF8Mark Encoding = "utf-8-bom"
	UTF16    Encoding = "utf-16"
	GB18030  Encoding = "gb18030"
)

func (e Encoding) known() bool { return e == UTF8 || e == UTF8Mark || e == UTF16 || e == GB18030 }

// encoder gathers rows in the file's encoding. After an error it writes nothing more.
type encoder struct {
	w   io.Writer
	as  Encoding
	gb  *encoding.Encoder
	buf []byte
	err error
}

func newEncoder(w io.Writer, as Encoding) *encoder {
	return &encoder{w: w, as: as, gb: simplifiedchinese.GB18030.NewEncoder(), buf: make([]byte, 0, 128<<10)}
}

// mark begins the file.
func (e *encoder) mark() {
	if e.as == UTF8Mark || e.as == UTF16 {
		e.write([]byte("\ufeff"))
	}
}

func (e *encoder) write(text []byte) {
	switch e.as {
	case UTF16:
		e.writeWide(text)
	case GB18030:
		e.writeGB(text)
	default:
		e.buf = append(e.buf, text...)
	}
	if len(e.buf) >= 64<<10 {
		e.flush()
	}
}

func (e *encoder) writeWide(text []byte) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			e.buf = append(e.buf, byte(high), byte(high>>8), byte(low), byte(low>>8))
		} else {
			e.buf = append(e.buf, byte(r), byte(r>>8))
		}
	}
}

func (e *encoder) writeGB(text []byte) {
	e.buf = slices.Grow(e.buf, 2*len(text)) // no character grows to more: it has 1 byte for 1, 4 for 2
	e.gb.Reset()
	n, _, err := e.gb.Transform(e.buf[len(e.buf):cap(e.buf)], text, true)
	e.buf = e.buf[:len(e.buf)+n]
	if err != nil && e.err == nil {
		e.err = err
	}
}

func (e *encoder) flush() error {
	if e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
	return e.err
}
