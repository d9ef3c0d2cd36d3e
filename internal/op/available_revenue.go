package op

import (
	"context"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

func availableRevenue(ctx context.Context, _ *Engine, q *pgdb.Queries, appID string, r infinia.AvailableRevenueRequest) (rep infinia.AvailableRevenueReply, err error) {
	set, err := usableBy(ctx, q, appID, r.Currency)
	if err != nil {
		return rep, err
	}
	bindings, err := q.ListBindingsOfSeller(ctx, pgdb.ListBindingsOfSellerParams{AppID: appID, SellerID: r.SellerID})
	if err != nil {
		return rep, err
	}
	if !trade.EverBound(bindings, r.Currency) {
		return rep, refuse(infinia.SellerNotBound, "sellerId", "was never bound in this currency")
	}
	e, err := Entitlement(ctx, q, set, appID, r.SellerID, r.Currency)
	if err != nil {
		return rep, err
	}
	text := func(minor int64) string { return amountText(minor, r.Currency) }
	return infinia.AvailableRevenueReply{SellerID: r.SellerID, Currency: r.Currency, AvailableAmount: text(e.Available),
		TradeAmount: text(e.Trade), SharedAmount: text(e.Shared), ProcessingAmount: text(e.Processing),
		OverSharedAmount: text(e.Over)}, nil
}

// Entitlement reads what a seller may receive from the last committed state.
func Entitlement(ctx context.Context, q *pgdb.Queries, set store.Settings, appID, sellerID, currency string) (trade.Entitlement, error) {
	var accounts [3]pgdb.Account
	for i, kind := range []string{ledger.FiledShipped, ledger.FiledUnshipped, ledger.Used} {
		var err error
		if accounts[i], err = account(ctx, q, ledger.SellerAccount(appID, kind, sellerID, currency)); err != nil {
			return trade.Entitlement{}, err
		}
	}
	return trade.Entitled(set, accounts[0].Balance, accounts[1].Balance, accounts[2].Balance, accounts[2].Held)
}
