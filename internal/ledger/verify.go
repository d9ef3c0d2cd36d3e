package ledger

import (
	"context"
	"fmt"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Report is what Verify found: how much it looked at, and every fault in words.
type Report struct {
	Accounts, Postings, Shares, Requests, Rows int64
	Faults                                     []string
}

// Verify checks the books of any database, in one snapshot, by queries that share nothing with the code that wrote them.
func Verify(ctx context.Context, q *pgdb.Queries) (Report, error) {
	var r Report
	counts, err := q.VerifyCounts(ctx)
	if err != nil {
		return r, err
	}
	r.Accounts, r.Postings, r.Shares, r.Requests, r.Rows = counts.Accounts, counts.Postings, counts.Shares, counts.Requests, counts.RowsFiled
	for _, check := range []func() error{
		check(ctx, &r, q.VerifySums, func(f pgdb.VerifySumsRow) string {
			return fmt.Sprintf("app %s %s: the money book sums to %d and the entitlement book to %d, both must be 0", f.AppID, f.Currency, f.Money, f.Entitlement)
		}),
		check(ctx, &r, q.VerifyBalances, func(f pgdb.VerifyBalancesRow) string {
			return fmt.Sprintf("account %d (%s %s %s %s): balance %d with last number %d, but %d postings sum to %d", f.ID, f.AppID, f.Kind, f.SellerID, f.Currency, f.Balance, f.LastNo, f.Postings, f.Posted)
		}),
		check(ctx, &r, q.VerifyRunning, func(f pgdb.VerifyRunningRow) string {
			return fmt.Sprintf("posting %d, number %d of account %d: says balance %d, counted %d, or goes back in time, or says that posting %d is before it, which is %d", f.ID, f.No, f.AccountID, f.Balance, f.Counted, f.BeforeID, f.IsBefore)
		}),
		check(ctx, &r, q.VerifyLast, func(f pgdb.VerifyLastRow) string {
			return fmt.Sprintf("account %d (%s %s %s %s): posting %d is not its last, number %d", f.ID, f.AppID, f.Kind, f.SellerID, f.Currency, f.LastPostingID, f.LastNo)
		}),
		check(ctx, &r, q.VerifyPostings, func(f pgdb.VerifyPostingsRow) string {
			return fmt.Sprintf("posting %d (%s, amount %d): its accounts do not belong together", f.ID, f.Purpose, f.Amount)
		}),
		check(ctx, &r, q.VerifyFloors, func(f pgdb.VerifyFloorsRow) string {
			return fmt.Sprintf("account %d (%s %s %s %s): balance %d with %d held is below its limit", f.ID, f.AppID, f.Kind, f.SellerID, f.Currency, f.Balance, f.Held)
		}),
		check(ctx, &r, q.VerifyHolds, func(f pgdb.VerifyHoldsRow) string {
			return fmt.Sprintf("account %d (%s %s %s %s): %d held, shares in process sum to %d", f.ID, f.AppID, f.Kind, f.SellerID, f.Currency, f.Held, f.Shares)
		}),
		check(ctx, &r, q.VerifyShares, func(f pgdb.VerifySharesRow) string {
			return fmt.Sprintf("share %d (%s %s): %s with %d postings and %d settlements waiting, or over what was allowed", f.ID, f.AppID, f.RequestNo, f.State, f.Postings, f.Tasks)
		}),
		check(ctx, &r, q.VerifySharesPosted, func(f pgdb.VerifySharesPostedRow) string {
			return fmt.Sprintf("posting %d is for share %d, which does not exist", f.ID, f.RecordID)
		}),
		check(ctx, &r, q.VerifyRequests, func(f pgdb.VerifyRequestsRow) string {
			return fmt.Sprintf("share %d (%s %s): %d accepted requests made it, must be 1", f.ID, f.AppID, f.RequestNo, f.Requests)
		}),
		check(ctx, &r, q.VerifyRequestsTwice, func(f pgdb.VerifyRequestsTwiceRow) string {
			return fmt.Sprintf("request %s %s %s acted %d times", f.AppID, f.Operation, f.RequestNo, f.Many)
		}),
		check(ctx, &r, q.VerifyDeposits, func(f pgdb.VerifyDepositsRow) string {
			return fmt.Sprintf("deposit %d (%s): %d booked and %d taken back do not fit its %d", f.ID, f.AppID, f.Booked, f.Reversed, f.Amount)
		}),
		check(ctx, &r, q.VerifyFiled, func(f pgdb.VerifyFiledRow) string {
			return fmt.Sprintf("seller %s of %s, %s: accepted rows sum to %d shipped and %d not, the books say %d and %d", f.SellerID, f.AppID, f.Currency, f.FiledShipped, f.FiledUnshipped, f.BookedShipped, f.BookedUnshipped)
		}),
		check(ctx, &r, q.VerifyParts, func(f pgdb.VerifyPartsRow) string {
			return fmt.Sprintf("trade file %d (%s %s): accepted %d rows, its parts %d", f.ID, f.AppID, f.RequestNo, f.AcceptedRows, f.OfParts)
		}),
	} {
		if err := check(); err != nil {
			return r, err
		}
	}
	return r, nil
}

func check[F any](ctx context.Context, r *Report, find func(context.Context) ([]F, error), say func(F) string) func() error {
	return func() error {
		found, err := find(ctx)
		for _, f := range found {
			r.Faults = append(r.Faults, say(f))
		}
		return err
	}
}
