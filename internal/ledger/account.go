// Package ledger keeps the books: accounts, postings that move an amount from one to another, and holds that reserve one.
//
// There are two books. In money, an app's external, platform, seller and fees accounts sum to zero in each currency. In
// entitlement, what a seller filed and used stands against that seller's evidence account. The package works on a
// store.View and knows nothing of shares, files or calls, which decide what is posted.
package ledger

import (
	"errors"
	"fmt"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/money"
)

// The kinds of account. The first four are the money book, the others the entitlement book.
const (
	External = "external" // the bank, where deposits come from; the only money account without a floor
	Platform = "platform" // what the app may share
	Seller   = "seller"   // what a seller has received
	Fees     = "fees"

	Evidence       = "evidence" // the other side of everything below; no floor
	FiledShipped   = "filed-shipped"
	FiledUnshipped = "filed-unshipped"
	Used           = "used" // settled shares; its hold is what shares in process reserve
)

// ErrShort says that an account has less available than was asked.
var ErrShort = errors.New("not enough available")

// PlatformAccount and the functions after it name accounts.
func PlatformAccount(appID, currency string) store.AccountKey {
	return store.AccountKey{AppID: appID, Kind: Platform, Currency: currency}
}

// ExternalAccount is the bank's side of an app's money.
func ExternalAccount(appID, currency string) store.AccountKey {
	return store.AccountKey{AppID: appID, Kind: External, Currency: currency}
}

// SellerAccount is a seller's account of the given kind.
func SellerAccount(appID, kind, sellerID, currency string) store.AccountKey {
	return store.AccountKey{AppID: appID, Kind: kind, SellerID: sellerID, Currency: currency}
}

// Get returns an account; one that has no row yet is empty.
func Get(v *store.View, k store.AccountKey) pgdb.Account {
	a, ok := v.Accounts.Get(k)
	if !ok {
		a = pgdb.Account{AppID: k.AppID, Kind: k.Kind, SellerID: k.SellerID, Currency: k.Currency}
	}
	return a
}

func put(v *store.View, a pgdb.Account) {
	if a.ID == 0 {
		a.ID = v.NextID()
	}
	v.Accounts.Put(store.AccountKey{AppID: a.AppID, Kind: a.Kind, SellerID: a.SellerID, Currency: a.Currency}, a)
}

// Available is what an account's owner may still move: its balance less what is held.
func Available(a pgdb.Account) int64 { return a.Balance - a.Held }

// Hold reserves amount on an account. On a money account it must be available.
func Hold(v *store.View, k store.AccountKey, amount int64) error {
	if amount <= 0 {
		return fmt.Errorf("hold %d on %s: an amount is above zero", amount, k.Kind)
	}
	a := Get(v, k)
	if isMoney(k.Kind) && Available(a) < amount {
		return fmt.Errorf("hold on %s: %w", k.Kind, ErrShort)
	}
	held, err := money.Add(a.Held, amount)
	if err != nil {
		return fmt.Errorf("hold on %s: %w", k.Kind, err)
	}
	a.Held = held
	put(v, a)
	return nil
}

// Release gives up a hold.
func Release(v *store.View, k store.AccountKey, amount int64) error {
	a := Get(v, k)
	if amount <= 0 || a.Held < amount {
		return fmt.Errorf("release %d of %d held on %s", amount, a.Held, k.Kind)
	}
	a.Held -= amount
	put(v, a)
	return nil
}

// CountDay adds amount to what an account has accepted on a day, for the limits; a new day begins at zero. Days never go
// back: an account that has begun a later one counts there, and CountDay returns the day counted.
func CountDay(v *store.View, k store.AccountKey, day, amount int64) (int64, error) {
	a := Get(v, k)
	if day > a.Day {
		a.Day, a.DayAmount = day, 0
	}
	sum, err := money.Add(a.DayAmount, amount)
	if err != nil {
		return 0, err
	}
	a.DayAmount = sum
	put(v, a)
	return a.Day, nil
}

// UncountDay takes back what CountDay counted, if that day is still the account's last.
func UncountDay(v *store.View, k store.AccountKey, day, amount int64) {
	if a := Get(v, k); a.Day == day {
		a.DayAmount -= amount
		put(v, a)
	}
}

// OnDay is what CountDay has counted for a day so far.
func OnDay(a pgdb.Account, day int64) int64 {
	if a.Day >= day {
		return a.DayAmount
	}
	return 0
}

func isMoney(kind string) bool {
	return kind == External || kind == Platform || kind == Seller || kind == Fees
}

func hasFloor(kind string) bool { return kind != External && kind != Evidence }
