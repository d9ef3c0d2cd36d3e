package op

import (
	"context"
	"slices"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
	"github.com/openinfinia/infinia/money"
)

// Outlook is how a share for a seller would be judged now.
type Outlook struct {
	Settings store.Settings
	May      trade.Entitlement
	Platform pgdb.Account
	Used     pgdb.Account

	Seller  pgdb.Seller  // without an ID when no binding was ever asked for
	Binding pgdb.Binding // the one that counts, or else the newest in this currency; without an ID when there is none
	Limits  []Limit

	Most  int64            // the largest amount that would be accepted
	Stops []*infinia.Error // what the least amount would be refused for, in the order of judging
}

// OutlookOf reads the last committed state; now is the time at which the share would be judged.
func OutlookOf(ctx context.Context, q *pgdb.Queries, app pgdb.App, sellerID, currency string, now int64) (o Outlook, err error) {
	if o.Settings, err = store.SettingsOf(app); err != nil {
		return o, err
	}
	if o.Seller, err = q.GetSeller(ctx, pgdb.GetSellerParams{AppID: app.AppID, SellerID: sellerID}); err != nil && !store.NotFound(err) {
		return o, err
	}
	bindings, err := q.ListBindingsOfSeller(ctx, pgdb.ListBindingsOfSellerParams{AppID: app.AppID, SellerID: sellerID})
	if err != nil {
		return o, err
	}
	for _, b := range bindings {
		if b.Currency == currency && o.Binding.State != BindingSuccess {
			o.Binding = b
		}
	}
	if o.Platform, err = account(ctx, q, ledger.PlatformAccount(app.AppID, currency)); err != nil {
		return o, err
	}
	if o.Used, err = account(ctx, q, ledger.SellerAccount(app.AppID, ledger.Used, sellerID, currency)); err != nil {
		return o, err
	}
	if o.May, err = Entitlement(ctx, q, o.Settings, app.AppID, sellerID, currency); err != nil {
		return o, err
	}
	if o.Limits, err = limitsOf(o.Settings, o.Platform, o.Used, o.Settings.Day(now), money.Currency(currency)); err != nil {
		return o, err
	}
	o.judge(app, currency)
	return o, nil
}

// judge asks what gate and Judge ask, and goes on where they stop.
func (o *Outlook) judge(app pgdb.App, currency string) {
	stop := func(is bool, code infinia.Code, field, message string) {
		if is {
			o.Stops = append(o.Stops, refuse(code, field, message))
		}
	}
	stop(app.Disabled != 0, infinia.NotAuthenticated, "appId", "is of an app that is disabled")
	stop(len(o.Settings.Operations) > 0 && !slices.Contains(o.Settings.Operations, string(infinia.OpRevenueSharing)),
		infinia.NotAllowed, "appId", "is of an app that may not share revenue")
	stop(!usable(o.Settings, currency), infinia.CurrencyNotUsable, "currency", notEnabled)
	stop(o.Binding.State != BindingSuccess, infinia.SellerNotBound, "sellerId", notBound)
	stop(o.Seller.Status == string(infinia.SellerIsFrozen), infinia.SellerFrozen, "sellerId", frozen)
	most := min(o.May.Available, ledger.Available(o.Platform))
	for _, l := range o.Limits {
		most = min(most, l.Left())
		stop(l.Left() <= 0, infinia.OverLimit, "amount", l.refusal)
	}
	stop(o.May.Available <= 0, infinia.OverAvailableShare, "amount", overAvailable)
	stop(ledger.Available(o.Platform) <= 0, infinia.OverBalance, "amount", overBalance)
	if len(o.Stops) == 0 {
		o.Most = most
	}
}
