package intake

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// bars count the wrong keys that each address has offered, and bar an address that has offered too many. A bar is for
// whoever comes from there, with a right key too: to tell them apart would take the handshake, which is what costs.
type bars struct {
	most int           // wrong keys; below zero there is no bar
	last time.Duration // how long a bar lasts, and how long a wrong key counts
	now  func() time.Time

	mu      sync.Mutex
	sources map[netip.Prefix]*source // guarded by mu; at most maxSources
}

type source struct {
	wrong int       // keys since
	since time.Time // of the first of them, or of the bar
	bar   bool
}

const (
	patience   = 10     // wrong keys of one address that are answered at once, and logged
	maxSources = 10_000 // addresses that are remembered, a few hundred bytes each
)

// origin is what counts as one address: of IPv6 the network of one customer, who has 2^64 of them.
func origin(remote net.Addr) netip.Prefix {
	a, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Prefix{} // no TCP: all of them count as one
	}
	ip, bits := a.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

// barred reports whether the address is, and until when.
func (b *bars) barred(from netip.Prefix) (until time.Time, is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.current(from)
	if s == nil || !s.bar {
		return time.Time{}, false
	}
	return s.since.Add(b.last), true
}

// wrong counts a wrong key, and says how many it makes and whether it is the one that begins a bar.
func (b *bars) wrong(from netip.Prefix) (n int, begins bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.current(from)
	if s == nil {
		b.makeRoom()
		s = &source{since: b.now()}
		b.sources[from] = s
	}
	s.wrong++
	if b.most >= 0 && s.wrong >= b.most && !s.bar {
		s.bar, s.since = true, b.now()
		return s.wrong, true
	}
	return s.wrong, false
}

// right forgets the wrong keys of an address that has shown a right one: many a client offers all that it has. It does
// not end a bar.
func (b *bars) right(from netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.sources[from]; s != nil && !s.bar {
		delete(b.sources, from)
	}
}

// current is what counts against an address now. The caller holds b.mu.
func (b *bars) current(from netip.Prefix) *source {
	s := b.sources[from]
	if s != nil && b.over(s) {
		delete(b.sources, from)
		return nil
	}
	return s
}

func (b *bars) over(s *source) bool {
	age := b.now().Sub(s.since)
	return age < 0 || age >= b.last // below zero: the clock was moved back
}

// makeRoom keeps within maxSources. It looks at some of them alone, which are others each time: one that is over goes, or
// else one that is not barred, or else any. The caller holds b.mu.
func (b *bars) makeRoom() {
	if len(b.sources) < maxSources {
		return
	}
	var victim netip.Prefix
	looked, free := 0, false
	for p, s := range b.sources {
		if b.over(s) {
			victim = p
			break
		}
		if !free {
			victim, free = p, !s.bar
		}
		if looked++; looked == 100 {
			break
		}
	}
	delete(b.sources, victim)
}
