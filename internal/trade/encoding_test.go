package trade

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestEncodingHoweverItComes: what is told while an upload is kept is what a later look tells, in which the name alone is
// known or nothing.
func TestEncodingHoweverItComes(t *testing.T) {
	t.Parallel()
	texts := map[string][]byte{
		"empty": {}, "one byte": {0xef}, "UTF-16 at the end": []byte("a\x00"),
		"cut in a character":      []byte("a,\xe4\xb8"),
		"Chinese in a late piece": []byte(strings.Repeat("a,b\n", 40_000) + "\xd6\xd0\xce\xc4"),
		"UTF-8 with a mark":       []byte("\xef\xbb\xbfa"),
		"UTF-16":                  []byte("a\x00b\x00"),
		"UTF-16, high byte first": []byte("\x00a\x00b"),
		"UTF-16 with a mark":      []byte("\xff\xfea\x00"),
		"the other mark":          []byte("\xfe\xff\x00a"),
		"GB18030 with a mark":     []byte("\x84\x31\x95\x33a"),
		"Western":                 []byte("M\xfcnchen, K\xf6ln"),
		"a character on the seam": []byte(strings.Repeat("a", 64<<10-1) + "中文"),
	}
	seen := map[string]bool{}
	for name, text := range texts {
		want, err := detect(bytes.NewReader(text), "")
		if err != nil {
			t.Fatal(err)
		}
		seen[want.name+want.bom] = true
		g := newGuesser()
		for i := range text {
			_, _ = g.Write(text[i : i+1])
		}
		if got := g.encoding(); got != want {
			t.Errorf("%s: byte by byte it is %+v, want %+v", name, got, want)
		}
		if got, err := detect(bytes.NewReader(text), want.name); got != want || err != nil {
			t.Errorf("%s: by its name it is %+v, %v, want %+v", name, got, err, want)
		}
	}
	if len(seen) != 8 {
		t.Errorf("not all encodings are told: %q", slices.Sorted(maps.Keys(seen)))
	}
}
