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

// saveEach writes what the group has left: sellers, bindings, shares, accounts, then everything else.
func (v *View) saveEach(ctx context.Context, q *pgdb.Queries) error {
	if err := v.Sellers.write(ctx,
		func(ctx context.Context, r pgdb.Seller) error { return q.InsertSeller(ctx, pgdb.InsertSellerParams(r)) },
		func(ctx context.Context, r pgdb.Seller) error {
			return q.UpdateSeller(ctx, pgdb.UpdateSellerParams{ID: r.ID, Status: r.Status, ChangedAt: r.ChangedAt})
		}); err != nil {
		return err
	}
	if err := v.Bindings.write(ctx,
		func(ctx context.Context, r pgdb.Binding) error {
			return q.InsertBinding(ctx, pgdb.InsertBindingParams(r))
		},
		func(ctx context.Context, r pgdb.Binding) error {
			return q.UpdateBinding(ctx, pgdb.UpdateBindingParams{ID: r.ID, State: r.State, FailReason: r.FailReason,
				LinkHash: r.LinkHash, LinkExpiresAt: r.LinkExpiresAt, Consent: r.Consent, ConfirmedAt: r.ConfirmedAt,
				DecidedAt: r.DecidedAt, BoundAt: r.BoundAt})
		}); err != nil {
		return err
	}
	if err := v.Shares.write(ctx,
		func(ctx context.Context, r pgdb.Share) error { return q.InsertShare(ctx, pgdb.InsertShareParams(r)) },
		func(ctx context.Context, r pgdb.Share) error {
			return q.UpdateShare(ctx, pgdb.UpdateShareParams{ID: r.ID, State: r.State, FailCode: r.FailCode, FinishedAt: r.FinishedAt})
		}); err != nil {
		return err
	}
	if err := v.Accounts.write(ctx,
		func(ctx context.Context, r pgdb.Account) error {
			return q.InsertAccount(ctx, pgdb.InsertAccountParams(r))
		},
		func(ctx context.Context, r pgdb.Account) error {
			return q.UpdateAccount(ctx, pgdb.UpdateAccountParams{ID: r.ID, Balance: r.Balance, Held: r.Held, LastNo: r.LastNo,
				LastAt: r.LastAt, Day: r.Day, DayAmount: r.DayAmount})
		}); err != nil {
		return err
	}
	if err := v.Deliveries.write(ctx,
		func(ctx context.Context, r pgdb.Delivery) error {
			return q.InsertDelivery(ctx, pgdb.InsertDeliveryParams(r))
		},
		func(ctx context.Context, r pgdb.Delivery) error {
			return q.UpdateDelivery(ctx, pgdb.UpdateDeliveryParams{ID: r.ID, State: r.State, Attempts: r.Attempts, DueAt: r.DueAt,
				FinishedAt: r.FinishedAt})
		}); err != nil {
		return err
	}
	if err := v.Deposits.write(ctx,
		func(ctx context.Context, r pgdb.Deposit) error {
			return q.InsertDeposit(ctx, pgdb.InsertDepositParams(r))
		},
		func(ctx context.Context, r pgdb.Deposit) error {
			return q.UpdateDeposit(ctx, pgdb.UpdateDepositParams{ID: r.ID, ReversedAt: r.ReversedAt})
		}); err != nil {
		return err
	}
	if err := v.Files.write(ctx,
		func(ctx context.Context, r pgdb.TradeFile) error {
			return q.InsertTradeFile(ctx, pgdb.InsertTradeFileParams(r))
		},
		func(ctx context.Context, r pgdb.TradeFile) error {
			return q.UpdateTradeFile(ctx, pgdb.UpdateTradeFileParams{ID: r.ID, State: r.State, SellerID: r.SellerID,
				Currency: r.Currency, TotalRows: r.TotalRows, AcceptedRows: r.AcceptedRows, RejectedRows: r.RejectedRows,
				FailReason: r.FailReason, Warnings: r.Warnings, FinishedAt: r.FinishedAt, ErrorsID: r.ErrorsID})
		}); err != nil {
		return err
	}
	if err := v.Requests.write(ctx,
		func(ctx context.Context, r pgdb.Request) error {
			return q.InsertRequest(ctx, pgdb.InsertRequestParams(r))
		}, nil); err != nil {
		return err
	}
	if err := v.Audits.write(ctx,
		func(ctx context.Context, r pgdb.Audit) error { return q.InsertAudit(ctx, pgdb.InsertAuditParams(r)) }, nil); err != nil {
		return err
	}
	for _, p := range v.postings {
		if err := q.InsertPosting(ctx, pgdb.InsertPostingParams(p)); err != nil {
			return err
		}
	}
	for _, a := range v.attempts {
		if err := q.InsertDeliveryAttempt(ctx, pgdb.InsertDeliveryAttemptParams(a)); err != nil {
			return err
		}
	}
	for _, c := range v.calls {
		if err := q.InsertCall(ctx, pgdb.InsertCallParams(c)); err != nil {
			return err
		}
	}
	for _, id := range v.oldTasks {
		if err := q.DeleteTask(ctx, id); err != nil {
			return err
		}
	}
	for _, t := range v.newTasks {
		if err := q.InsertTask(ctx, pgdb.InsertTaskParams(t)); err != nil {
			return err
		}
	}
	return v.Apps.write(ctx, nil, nil)
}
