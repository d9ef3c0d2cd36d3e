package trade

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Broken is a rule that a file breaks.
type Broken struct {
	Rule    string `json:"rule"` // its name
	Warning bool   `json:"warning,omitempty"`
	Count   int    `json:"count"`
	Lines   []int  `json:"lines,omitempty"` // the first, at most 10; none where it is broken by the whole file
	Example string `json:"example"`         // what the first problem says
}

// brokenLines is how many lines of each broken rule are told.
const brokenLines = 10

// tally counts problems by the name of their rule, which come in the order of lines.
type tally map[string]*Broken

func (t tally) count(rule string, line int, problem func() Problem) {
	b, ok := t[rule]
	if !ok {
		p := problem()
		b = &Broken{Rule: rule, Warning: p.Warning, Example: p.String()}
		t[rule] = b
	}
	if b.Count++; line > 0 && len(b.Lines) < brokenLines {
		b.Lines = append(b.Lines, line)
	}
}

// sorted is what was counted, for Result.Broken.
func (t tally) sorted() []Broken {
	rank := func(b *Broken) int {
		switch {
		case len(b.Lines) == 0:
			return 0
		case b.Warning:
			return 2
		}
		return 1
	}
	broken := make([]Broken, 0, len(t))
	for _, b := range slices.SortedFunc(maps.Values(t), func(a, b *Broken) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Count, a.Count), strings.Compare(a.Rule, b.Rule))
	}) {
		broken = append(broken, *b)
	}
	return broken
}
