package admin

import (
	"context"
	"time"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Share is revenue shared with a seller. Allowed, Committed and Cap are what it was judged by when it was accepted.
type Share struct {
	ID             ID        `json:"id"`
	AppID          string    `json:"appId"`
	RequestNo      string    `json:"requestNo"`
	SellerID       string    `json:"sellerId"`
	Currency       string    `json:"currency"`
	Amount         string    `json:"amount"`
	Note           string    `json:"note,omitempty"`
	BindingID      ID        `json:"bindingId"`
	State          string    `json:"state" enum:"HELD,SETTLED,RELEASED"`
	FailCode       string    `json:"failCode,omitempty"`
	Allowed        string    `json:"allowed" doc:"what the seller's trades allowed"`
	Committed      string    `json:"committed" doc:"what was shared or held of it, this share included"`
	CapBasisPoints int64     `json:"capBasisPoints"`
	AcceptedAt     time.Time `json:"acceptedAt"`
	FinishedAt     time.Time `json:"finishedAt,omitzero"`
}

// SharesFilter says which shares are wanted.
type SharesFilter struct {
	Page
	AppID    string `query:"appId"`
	SellerID string `query:"sellerId"`
	Currency string `query:"currency"`
	State    string `query:"state" enum:"HELD,SETTLED,RELEASED"`
}

func shares(s *server) {
	list(s, "/shares", "list-shares", "Shares",
		func(ctx context.Context, q *pgdb.Queries, f SharesFilter, before int64, most int32) ([]pgdb.Share, error) {
			return q.PageShares(ctx, pgdb.PageSharesParams{Before: before, AppID: f.AppID, SellerID: f.SellerID, Currency: f.Currency, State: f.State, Most: most})
		}, shown(showShare), func(x Share) ID { return x.ID })
	get(s, "/shares/{id}", "get-share", "One share", func(ctx context.Context, q *pgdb.Queries, id int64) (Share, error) {
		row, err := q.GetShare(ctx, id)
		return showShare(row), err
	})
}

func showShare(r pgdb.Share) Share {
	return Share{ID: idOf(r.ID), AppID: r.AppID, RequestNo: r.RequestNo, SellerID: r.SellerID, Currency: r.Currency, Amount: decimal(r.Amount, r.Currency),
		Note: r.Note, BindingID: idOf(r.BindingID), State: r.State, FailCode: r.FailCode, Allowed: decimal(r.Allowed, r.Currency),
		Committed: decimal(r.Committed, r.Currency), CapBasisPoints: r.Cap, AcceptedAt: at(r.AcceptedAt), FinishedAt: at(r.FinishedAt)}
}
