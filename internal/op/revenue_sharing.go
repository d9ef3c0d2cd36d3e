package op

import (
	"errors"
	"fmt"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
	"github.com/openinfinia/infinia/money"
)

// The states of a share:
//
//	HELD -> SETTLED
//	HELD -> RELEASED
//
// HELD is PROCESSING to the caller, SETTLED is SUCCESS, RELEASED is FAILED.
const (
	ShareHeld     = "HELD"
	ShareSettled  = "SETTLED"
	ShareReleased = "RELEASED"
)

func shareStatus(state string) infinia.ShareStatus {
	switch state {
	case ShareSettled:
		return infinia.ShareSuccess
	case ShareReleased:
		return infinia.ShareFailed
	}
	return infinia.ShareProcessing
}

// SettleQueue is the outbox queue of shares that wait to be settled.
const SettleQueue = "settle"

// What a share is refused for, beside limits.
const (
	notEnabled    = "is not enabled for this app"
	notBound      = "has no successful binding in this currency"
	frozen        = "is frozen"
	overAvailable = "is over the seller's available share"
	overBalance   = "is over the platform's available balance"
)

// revenueSharing holds the amount on the platform's account and on the seller's entitlement, in the unit that stores the
// request, and leaves the settlement for after the commit.
type revenueSharing struct{}

func (revenueSharing) Need(appID string, r infinia.RevenueSharingRequest) store.Keys {
	return store.Keys{
		Sellers:  []store.SellerKey{{AppID: appID, SellerID: r.SellerID}},
		SharesOf: []store.RequestKey{{AppID: appID, Operation: string(infinia.OpRevenueSharing), RequestNo: r.RequestNo}},
		Accounts: []store.AccountKey{
			ledger.PlatformAccount(appID, r.Currency),
			ledger.SellerAccount(appID, ledger.FiledShipped, r.SellerID, r.Currency),
			ledger.SellerAccount(appID, ledger.FiledUnshipped, r.SellerID, r.Currency),
			ledger.SellerAccount(appID, ledger.Used, r.SellerID, r.Currency),
		},
	}
}

// Judge refuses in the order of the contract: currency, binding, freeze, limits, available share, balance.
func (revenueSharing) Judge(v *store.View, _ *Engine, appID string, r infinia.RevenueSharingRequest) (rep infinia.RevenueSharingReply, id int64, err error) {
	set, err := v.SettingsOf(appID)
	if err != nil {
		return rep, 0, err
	}
	amount, err := money.Parse(r.Amount, money.Currency(r.Currency))
	if err != nil {
		return rep, 0, err
	}
	if !usable(set, r.Currency) {
		return rep, 0, refuse(infinia.CurrencyNotUsable, "currency", notEnabled)
	}
	seller := store.SellerKey{AppID: appID, SellerID: r.SellerID}
	binding, ok := boundIn(v, seller, r.Currency)
	if !ok {
		return rep, 0, refuse(infinia.SellerNotBound, "sellerId", notBound)
	}
	if isFrozen(v, seller) {
		return rep, 0, refuse(infinia.SellerFrozen, "sellerId", frozen)
	}
	platform := ledger.PlatformAccount(appID, r.Currency)
	used := ledger.SellerAccount(appID, ledger.Used, r.SellerID, r.Currency)
	day := set.Day(v.Now())
	if err := limits(v, set, platform, used, day, amount); err != nil {
		return rep, 0, err
	}
	may, err := entitled(v, set, appID, r.SellerID, r.Currency)
	if err != nil {
		return rep, 0, err
	}
	if may.Over > 0 || amount.Minor > may.Available {
		return rep, 0, refuse(infinia.OverAvailableShare, "amount", overAvailable)
	}
	if err := ledger.Hold(v, platform, amount.Minor); errors.Is(err, ledger.ErrShort) {
		return rep, 0, refuse(infinia.OverBalance, "amount", overBalance)
	} else if err != nil {
		return rep, 0, err
	}
	if err := ledger.Hold(v, used, amount.Minor); err != nil {
		return rep, 0, err
	}
	if day, err = ledger.CountDay(v, platform, day, amount.Minor); err != nil {
		return rep, 0, err
	}
	if _, err := ledger.CountDay(v, used, day, amount.Minor); err != nil {
		return rep, 0, err
	}
	share := pgdb.Share{
		ID: v.NextID(), AppID: appID, RequestNo: r.RequestNo, SellerID: r.SellerID, Currency: r.Currency, Amount: amount.Minor,
		Note: r.Note, BindingID: binding.ID, State: ShareHeld, Allowed: may.Allowed, Cap: set.Cap(),
		Committed: may.Shared + may.Processing + amount.Minor, Day: day, AcceptedAt: v.Now(),
	}
	v.Shares.Put(share.ID, share)
	v.AddTask(SettleQueue, share.ID, v.Now()+set.SettleDelayMillis)
	return shareReply(share), share.ID, nil
}

func (revenueSharing) Again(v *store.View, _ *Engine, _ string, _ infinia.RevenueSharingRequest, recordID int64) (infinia.RevenueSharingReply, error) {
	share, ok := v.Shares.Get(recordID)
	if !ok {
		return infinia.RevenueSharingReply{}, fmt.Errorf("share %d of a stored request is missing", recordID)
	}
	return shareReply(share), nil
}

func shareReply(s pgdb.Share) infinia.RevenueSharingReply {
	return infinia.RevenueSharingReply{RequestNo: s.RequestNo, SellerID: s.SellerID, Currency: s.Currency,
		Amount: amountText(s.Amount, s.Currency), Status: shareStatus(s.State)}
}

func amountText(minor int64, currency string) string {
	return money.Amount{Minor: minor, Currency: money.Currency(currency)}.String()
}

func entitled(v *store.View, set store.Settings, appID, sellerID, currency string) (trade.Entitlement, error) {
	account := func(kind string) pgdb.Account {
		return ledger.Get(v, ledger.SellerAccount(appID, kind, sellerID, currency))
	}
	used := account(ledger.Used)
	return trade.Entitled(set, account(ledger.FiledShipped).Balance, account(ledger.FiledUnshipped).Balance, used.Balance, used.Held)
}

// limits holds an amount against the operator's limits.
func limits(v *store.View, set store.Settings, platform, used store.AccountKey, day int64, amount money.Amount) error {
	all, err := limitsOf(set, ledger.Get(v, platform), ledger.Get(v, used), day, amount.Currency)
	if err != nil {
		return err
	}
	for _, l := range all {
		if amount.Minor > l.Left() {
			return refuse(infinia.OverLimit, "amount", l.refusal)
		}
	}
	return nil
}

// Limit is one of the operator's limits of shares in a currency, in minor units.
type Limit struct {
	Name     string // of the setting
	Most     int64
	Accepted int64 // of that day, held or settled
	refusal  string
}

// Left is what a share may have under the limit; below zero where the limit was lowered.
func (l Limit) Left() int64 { return l.Most - l.Accepted }

// limitsOf are the limits that are set for a currency, with what was accepted on a day.
func limitsOf(set store.Settings, platform, used pgdb.Account, day int64, currency money.Currency) (all []Limit, err error) {
	day = max(day, platform.Day)
	for _, l := range []struct {
		limit map[string]string
		Limit
	}{
		{set.LimitPerShare, Limit{Name: "limitPerShare", refusal: "is over the limit per share"}},
		{set.LimitPerSellerDay, Limit{Name: "limitPerSellerDay", Accepted: ledger.OnDay(used, day), refusal: "is over the seller's limit of this day"}},
		{set.LimitPerDay, Limit{Name: "limitPerDay", Accepted: ledger.OnDay(platform, day), refusal: "is over the app's limit of this day"}},
	} {
		text, ok := l.limit[string(currency)]
		if !ok {
			continue
		}
		most, err := money.Parse(text, currency)
		if err != nil {
			return nil, fmt.Errorf("limit %q: %w", text, err)
		}
		l.Most = most.Minor
		all = append(all, l.Limit)
	}
	return all, nil
}
