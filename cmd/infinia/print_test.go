package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPrintRecord(t *testing.T) {
	var out bytes.Buffer
	if err := printRecord(&out, struct {
		ID     string          `json:"id"`
		Text   string          `json:"text"`
		Lines  string          `json:"lines"`
		None   string          `json:"none"`
		Null   json.RawMessage `json:"null"`
		Many   int             `json:"many"`
		Yes    bool            `json:"yes"`
		At     time.Time       `json:"at"`
		Never  time.Time       `json:"never"`
		Inside map[string]int  `json:"inside"`
		Each   []any           `json:"each"`
		Empty  []string        `json:"empty"`
	}{
		ID: "7", Text: "a\tb\x1b[31m\u202e南京", Lines: "one\ntwo\n", Null: json.RawMessage("null"), Many: 3, Yes: true,
		At: time.Date(2026, 2, 3, 4, 5, 6, 7e6, time.UTC), Inside: map[string]int{"n": 1}, Each: []any{map[string]int{"n": 1}, "x"}, Empty: []string{},
	}); err != nil {
		t.Fatal(err)
	}
	want := `id      7
text    a\tb\x1b[31m\u202e南京
lines   one
        two
none    -
null    -
many    3
yes     true
at      2026-02-03T04:05:06.007Z
never   -
inside  {"n":1}
each    {"n":1}
        x
empty   -
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPrintTable(t *testing.T) {
	var out bytes.Buffer
	if err := printTable(&out, "id at name", []int{1, 22}, func(n int) []any {
		return []any{n, time.Unix(int64(n-1), 0), map[int]string{22: "a\nb"}[n]}
	}); err != nil {
		t.Fatal(err)
	}
	want := `id  at                    name
1   1970-01-01T00:00:00Z  -
22  1970-01-01T00:00:21Z  a\nb
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestColors(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  []string
		want string
	}{
		{"no terminal", []string{"TERM=xterm-256color"}, "bold"},
		{"as on one", []string{"TERM=xterm-256color", "CLICOLOR_FORCE=1"}, "\x1b[1mbold\x1b[m"},
		{"not wanted", []string{"TERM=xterm-256color", "CLICOLOR_FORCE=1", "NO_COLOR=1"}, "bold"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			fmt.Fprint(colors(&out, tc.env), "\x1b[1mbold\x1b[m")
			if out.String() != tc.want {
				t.Errorf("%q, want %q", out.String(), tc.want)
			}
		})
	}
}
