package op

import (
	"context"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

func accountBalance(ctx context.Context, _ *Engine, q *pgdb.Queries, appID string, r infinia.AccountBalanceRequest) (rep infinia.AccountBalanceReply, err error) {
	if _, err := usableBy(ctx, q, appID, r.Currency); err != nil {
		return rep, err
	}
	a, err := account(ctx, q, ledger.PlatformAccount(appID, r.Currency))
	if err != nil {
		return rep, err
	}
	return infinia.AccountBalanceReply{Currency: r.Currency, AvailableBalance: amountText(ledger.Available(a), r.Currency),
		FrozenBalance: amountText(a.Held, r.Currency), TotalBalance: amountText(a.Balance, r.Currency)}, nil
}

// account reads an account; one that has no row yet is empty.
func account(ctx context.Context, q *pgdb.Queries, k store.AccountKey) (pgdb.Account, error) {
	a, err := q.GetAccount(ctx, pgdb.GetAccountParams(k))
	if store.NotFound(err) {
		return pgdb.Account{}, nil
	}
	return a, err
}

// usableBy returns the app's settings, or a refusal when it may not use the currency.
func usableBy(ctx context.Context, q *pgdb.Queries, appID, currency string) (store.Settings, error) {
	app, err := q.GetApp(ctx, appID)
	if err != nil {
		return store.Settings{}, err
	}
	set, err := store.SettingsOf(app)
	if err == nil && !usable(set, currency) {
		err = refuse(infinia.CurrencyNotUsable, "currency", notEnabled)
	}
	return set, err
}
