package main

import (
	"context"

	"github.com/openinfinia/infinia/internal/admin"
)

type bindingCmd struct {
	List    bindingList    `cmd:"" help:"List bindings, newest first."`
	Show    bindingShow    `cmd:"" help:"Show a binding with the seller's consent."`
	Approve bindingApprove `cmd:"" help:"End a review with SUCCESS."`
	Reject  bindingReject  `cmd:"" help:"End a review with FAILED; the app can read the reason."`
	Revoke  bindingRevoke  `cmd:"" help:"Take a successful binding back; the app can read the reason."`
}

type bindingList struct {
	App    string `env:"-" placeholder:"APP" help:"Only this app's."`
	Seller string `env:"-" placeholder:"SELLER" help:"Only this seller's."`
	State  string `env:"-" placeholder:"STATE" help:"Only those that are AWAITING_SELLER, AWAITING_REVIEW, SUCCESS, FAILED or REVOKED."`
	paging
	operator
}

func (c bindingList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Binding], error) {
		return api.Bindings(ctx, admin.BindingsFilter{Page: c.page(), AppID: c.App, SellerID: c.Seller, State: c.State})
	}, "id appId requestNo currency state createdAt sellerId sellerName", func(b admin.Binding) []any {
		return []any{b.ID, b.AppID, b.RequestNo, b.Currency, b.State, b.CreatedAt, b.SellerID, b.SellerName}
	})
}

type bindingShow struct {
	ID admin.ID `arg:"" help:"The binding."`
	operator
}

func (c bindingShow) Run(ctx context.Context, con console) error {
	return show(con, c.operator, func(api *admin.Client) (admin.BindingDetail, error) { return api.Binding(ctx, c.ID) })
}

type bindingApprove struct {
	ID admin.ID `arg:"" help:"The binding."`
	actor
}

func (c bindingApprove) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Binding, error) { return api.ApproveBinding(ctx, c.ID, a) })
}

type bindingReject struct {
	ID    admin.ID `arg:"" help:"The binding."`
	actor `set:"told= The app is told."`
}

func (c bindingReject) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Binding, error) { return api.RejectBinding(ctx, c.ID, a) })
}

type bindingRevoke struct {
	ID    admin.ID `arg:"" help:"The binding."`
	actor `set:"told= The app is told."`
}

func (c bindingRevoke) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Binding, error) { return api.RevokeBinding(ctx, c.ID, a) })
}
