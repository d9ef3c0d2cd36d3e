package gate

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/openinfinia/infinia/internal/store"
)

// limits keeps a token bucket per address and per app. An address has one on each node; an app has one on all nodes
// together. Buckets that have been full for a while are forgotten.
type limits struct {
	db         *store.DB
	perAddress float64

	mu        sync.Mutex
	addresses map[netip.Addr]*rate.Limiter // guarded by mu
	apps      map[string]*rate.Limiter     // guarded by mu
	drawn     map[string]float64           // guarded by mu; blocks drawn from an app's common bucket and not used
	swept     time.Time                    // guarded by mu
}

const (
	defaultBlocksPerSecond = 200
	blocksAtOnce           = 256 // room for the longest request, or it would be refused for ever
)

func newLimits(db *store.DB, perAddress float64) *limits {
	return &limits{db: db, perAddress: perAddress, addresses: map[netip.Addr]*rate.Limiter{}, apps: map[string]*rate.Limiter{},
		drawn: map[string]float64{}, swept: time.Now()}
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
func (l *limits) app(ctx context.Context, appID string, perSecond float64, blocks int) bool {
	if perSecond == 0 {
		perSecond = defaultBlocksPerSecond
	}
	most := max(5*perSecond, blocksAtOnce)
	if l.db.Shared() {
		return l.shared(ctx, appID, perSecond, most, float64(blocks))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.apps[appID]
	if !ok || b.Limit() != rate.Limit(perSecond) {
		b = rate.NewLimiter(rate.Limit(perSecond), int(most))
		l.apps[appID] = b
	}
	return b.AllowN(time.Now(), blocks)
}

// shared takes from the bucket that all nodes have in common. A node draws a twentieth of a second's worth at once, so that
// the bucket is not asked for every call.
func (l *limits) shared(ctx context.Context, appID string, perSecond, most, blocks float64) bool {
	l.mu.Lock()
	if l.drawn[appID] >= blocks {
		l.drawn[appID] -= blocks
		l.mu.Unlock()
		return true
	}
	l.mu.Unlock()
	for _, units := range []float64{max(blocks, perSecond/20), blocks} {
		ok, err := l.db.Take(ctx, "blocks "+appID, perSecond, most, units)
		if err != nil {
			return true // a database that cannot tell ends the call itself
		}
		if ok {
			l.mu.Lock()
			l.drawn[appID] += units - blocks
			l.mu.Unlock()
			return true
		}
	}
	return false
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
