package intake

import (
	"cmp"
	"slices"
)

// spans are the parts of a file that have been written: sorted, apart from one another, usually one. Packets of an upload
// overtake each other and may come twice, so that only this tells whether there is a gap.
type spans []span

type span struct{ from, to int64 } // to is the first byte after it

// maxSpans is far more than clients leave open; each costs memory.
const maxSpans = 1024

// add merges a part in, unless that would make too many.
func (s *spans) add(p span) bool {
	if p.from >= p.to {
		return true
	}
	i, _ := slices.BinarySearchFunc(*s, p.from, func(o span, from int64) int { return cmp.Compare(o.to, from) })
	j := i // the first behind it that does not touch it
	for ; j < len(*s) && (*s)[j].from <= p.to; j++ {
		p = span{min(p.from, (*s)[j].from), max(p.to, (*s)[j].to)}
	}
	if i == j && len(*s) >= maxSpans {
		return false
	}
	*s = slices.Replace(*s, i, j, p)
	return true
}

// shorten forgets what is behind a size.
func (s *spans) shorten(size int64) {
	for n := len(*s); n > 0 && (*s)[n-1].to > size; n-- {
		if (*s)[n-1].from < size {
			(*s)[n-1].to = size
			return
		}
		*s = (*s)[:n-1]
	}
}

// reach reports whether every byte below a size is there.
func (s spans) reach(size int64) bool {
	return size == 0 || len(s) > 0 && s[0].from == 0 && s[0].to >= size
}
