package main

import (
	"context"

	"github.com/openinfinia/infinia/internal/admin"
)

type sellerCmd struct {
	List   sellerList   `cmd:"" help:"List sellers, newest first."`
	Freeze sellerFreeze `cmd:"" help:"Freeze a seller in all currencies, and tell the app."`
	Resume sellerResume `cmd:"" help:"Resume a frozen seller, and tell the app."`
}

type sellerList struct {
	App    string `env:"-" placeholder:"APP" help:"Only this app's."`
	Seller string `env:"-" placeholder:"SELLER" help:"Only those with this sellerId."`
	Status string `env:"-" placeholder:"STATUS" help:"Only ACTIVE or FROZEN ones."`
	paging
	operator
}

func (c sellerList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Seller], error) {
		return api.Sellers(ctx, admin.SellersFilter{Page: c.page(), AppID: c.App, SellerID: c.Seller, Status: c.Status})
	}, "id appId status changedAt createdAt sellerId", func(s admin.Seller) []any {
		return []any{s.ID, s.AppID, s.Status, s.ChangedAt, s.CreatedAt, s.SellerID}
	})
}

type sellerFreeze struct {
	AppID    string `arg:"" help:"The app."`
	SellerID string `arg:"" help:"The seller, by the app's own number."`
	actor
}

func (c sellerFreeze) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Seller, error) {
		return api.FreezeSeller(ctx, c.AppID, admin.SellerAct{Act: a, SellerID: c.SellerID})
	})
}

type sellerResume struct {
	AppID    string `arg:"" help:"The app."`
	SellerID string `arg:"" help:"The seller, by the app's own number."`
	actor
}

func (c sellerResume) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Seller, error) {
		return api.ResumeSeller(ctx, c.AppID, admin.SellerAct{Act: a, SellerID: c.SellerID})
	})
}
