package main

import (
	"context"

	"github.com/openinfinia/infinia/internal/admin"
)

type shareCmd struct {
	List shareList `cmd:"" help:"List shares, newest first."`
	Show shareShow `cmd:"" help:"Show a share and what it was judged by."`
}

type shareList struct {
	App      string `env:"-" placeholder:"APP" help:"Only this app's."`
	Seller   string `env:"-" placeholder:"SELLER" help:"Only this seller's."`
	Currency string `env:"-" placeholder:"CODE" help:"Only in this currency."`
	State    string `env:"-" placeholder:"STATE" help:"Only those that are HELD, SETTLED or RELEASED."`
	paging
	operator
}

func (c shareList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Share], error) {
		return api.Shares(ctx, admin.SharesFilter{Page: c.page(), AppID: c.App, SellerID: c.Seller, Currency: c.Currency, State: c.State})
	}, "id appId requestNo currency amount state failCode acceptedAt finishedAt sellerId", func(s admin.Share) []any {
		return []any{s.ID, s.AppID, s.RequestNo, s.Currency, s.Amount, s.State, s.FailCode, s.AcceptedAt, s.FinishedAt, s.SellerID}
	})
}

type shareShow struct {
	ID admin.ID `arg:"" help:"The share."`
	operator
}

func (c shareShow) Run(ctx context.Context, con console) error {
	return show(con, c.operator, func(api *admin.Client) (admin.Share, error) { return api.Share(ctx, c.ID) })
}
