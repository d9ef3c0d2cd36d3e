package trade

import (
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/money"
)

// Entitlement is what a seller may receive in one currency, in minor units.
type Entitlement struct {
	Shipped    int64 // filed as Shipped, returns taken off
	Unshipped  int64 // filed as Not Shipped, returns taken off
	Trade      int64 // accepted trades that count, returns taken off, before the cap
	Allowed    int64 // Trade under the cap
	Shared     int64 // settled shares
	Processing int64 // shares in process
	Available  int64 // what may still be shared, never below zero
	Over       int64 // by how much shares exceed what is allowed
}

// Entitled computes what a seller may receive from the books: what was filed (shipped and not), used, and held for shares
// in process. It is computed whenever it is needed and stored nowhere, so that the cap may change.
func Entitled(set store.Settings, shipped, unshipped, used, held int64) (Entitlement, error) {
	e := Entitlement{Shipped: shipped, Unshipped: unshipped, Trade: shipped, Shared: used, Processing: held}
	var err error
	if !set.IgnoreUnshipped {
		if e.Trade, err = money.Add(shipped, unshipped); err != nil {
			return e, err
		}
	}
	if e.Allowed, err = money.CapBasisPoints(e.Trade, set.Cap()); err != nil {
		return e, err
	}
	committed, err := money.Add(used, held)
	if err != nil {
		return e, err
	}
	left, err := money.Sub(e.Allowed, committed)
	if err != nil {
		return e, err
	}
	e.Available, e.Over = max(left, 0), max(-left, 0)
	return e, nil
}
