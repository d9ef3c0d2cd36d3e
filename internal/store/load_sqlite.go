package store

import (
	"context"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// loadEach brings the rows that keys names into the view. SQLite runs in the process, so that a statement a row costs no
// round trip; the writer is alone, so that nothing has to be locked.
func (v *View) loadEach(ctx context.Context, q *pgdb.Queries, keys Keys) error {
	for _, k := range keys.Apps {
		if err := v.Apps.ask(k, func() (pgdb.App, error) { return q.GetApp(ctx, k) }); err != nil {
			return err
		}
	}
	for _, k := range keys.Requests {
		if err := v.Requests.ask(k, func() (pgdb.Request, error) { return q.GetRequest(ctx, pgdb.GetRequestParams(k)) }); err != nil {
			return err
		}
	}
	for _, k := range keys.Sellers {
		if err := v.loadSeller(ctx, q, k); err != nil {
			return err
		}
	}
	for _, k := range keys.Events {
		if _, ok := v.events[k]; ok {
			continue
		}
		rows, err := q.ListOpenDeliveriesOfSeller(ctx, pgdb.ListOpenDeliveriesOfSellerParams(k))
		if err != nil {
			return err
		}
		v.events[k] = make([]int64, len(rows))
		for i, r := range rows {
			v.events[k][i] = r.ID
			v.Deliveries.found(r.ID, r)
		}
	}
	for _, k := range keys.Deliveries {
		if err := v.Deliveries.ask(k, func() (pgdb.Delivery, error) { return q.GetDelivery(ctx, k) }); err != nil {
			return err
		}
	}
	for _, k := range keys.Shares {
		if err := v.Shares.ask(k, func() (pgdb.Share, error) { return q.GetShare(ctx, k) }); err != nil {
			return err
		}
	}
	for _, k := range keys.SharesOf {
		r, ok := v.Requests.rows[k]
		if !ok || r.RecordID == 0 {
			continue
		}
		if err := v.Shares.ask(r.RecordID, func() (pgdb.Share, error) { return q.GetShare(ctx, r.RecordID) }); err != nil {
			return err
		}
	}
	for _, k := range keys.Accounts {
		if err := v.loadAccounts(ctx, q, k); err != nil {
			return err
		}
	}
	for _, k := range keys.Deposits {
		if err := v.Deposits.ask(k, func() (pgdb.Deposit, error) { return q.FindDeposit(ctx, pgdb.FindDepositParams(k)) }); err != nil {
			return err
		}
	}
	for _, k := range keys.Files {
		if err := v.Files.ask(k, func() (pgdb.TradeFile, error) { return q.GetTradeFile(ctx, k) }); err != nil {
			return err
		}
	}
	for _, k := range keys.Audits {
		if err := v.Audits.ask(k, func() (pgdb.Audit, error) { return q.GetAudit(ctx, k) }); err != nil {
			return err
		}
	}
	return nil
}

func (v *View) loadAccounts(ctx context.Context, q *pgdb.Queries, k AccountKey) error {
	owner := k.owner()
	if !v.books[owner] {
		rows, err := q.ListAccountsOf(ctx, pgdb.ListAccountsOfParams{AppID: k.AppID, SellerID: k.SellerID, Currency: k.Currency})
		if err != nil {
			return err
		}
		v.books[owner] = true
		for _, r := range rows {
			v.Accounts.found(AccountKey{r.AppID, r.Kind, r.SellerID, r.Currency}, r)
		}
	}
	v.Accounts.missing(k)
	return nil
}

func (v *View) loadSeller(ctx context.Context, q *pgdb.Queries, k SellerKey) error {
	if _, ok := v.bindings[k]; ok {
		return nil
	}
	if err := v.Sellers.ask(k, func() (pgdb.Seller, error) { return q.GetSeller(ctx, pgdb.GetSellerParams(k)) }); err != nil {
		return err
	}
	rows, err := q.ListBindingsOfSeller(ctx, pgdb.ListBindingsOfSellerParams(k))
	if err != nil {
		return err
	}
	v.bindings[k] = make([]int64, len(rows))
	for i, r := range rows {
		v.bindings[k][i] = r.ID
		v.Bindings.found(r.ID, r)
	}
	return nil
}
