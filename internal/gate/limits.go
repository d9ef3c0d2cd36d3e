package gate

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits keeps a token bucket per address and per app. Buckets that have been full for a while are forgotten.
type limits struct {
	perAddress float64

	mu        sync.Mutex
	addresses map[netip.Addr]*rate.Limiter // guarded by mu
	apps      map[string]*rate.Limiter     // guarded by mu
	swept     time.Time                    // guarded by mu
}

const (
	defaultBlocksPerSecond = 200
	blocksAtOnce           = 256 // room for the longest request, or it would be refused for ever
)

func newLimits(perAddress float64) *limits {
	return &limits{perAddress: perAddress, addresses: map[netip.Addr]*rate.Limiter{}, apps: map[string]*rate.Limiter{}, swept: time.Now()}
}

// address takes one call of an address; IPv6 is counted by its /64, which one subscriber has.
func (l *limits) address(a netip.Addr) bool {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep()
	b, ok := l.addresses[a]
	if !ok {
		b = rate.NewLimiter(rate.Limit(l.perAddress), int(2*l.perAddress)+1)
		l.addresses[a] = b
	}
	return b.Allow()
}

// app takes the RSA blocks of one call of an app.
func (l *limits) app(appID string, perSecond float64, blocks int) bool {
	if perSecond == 0 {
		perSecond = defaultBlocksPerSecond
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.apps[appID]
	if !ok || b.Limit() != rate.Limit(perSecond) {
		b = rate.NewLimiter(rate.Limit(perSecond), max(int(5*perSecond), blocksAtOnce))
		l.apps[appID] = b
	}
	return b.AllowN(time.Now(), blocks)
}

// sweep forgets full buckets once a minute, so that a flood of addresses does not stay in memory.
func (l *limits) sweep() {
	now := time.Now()
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for a, b := range l.addresses {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(l.addresses, a)
		}
	}
}
