package main

import (
	"context"

	"github.com/openinfinia/infinia/internal/admin"
)

type webhookCmd struct {
	List   webhookList   `cmd:"" help:"List webhooks, newest first."`
	Show   webhookShow   `cmd:"" help:"Show a webhook with every try at it."`
	Replay webhookReplay `cmd:"" help:"Send a webhook once more, under the same requestNo."`
}

type webhookList struct {
	App    string `env:"-" placeholder:"APP" help:"Only this app's."`
	Seller string `env:"-" placeholder:"SELLER" help:"Only those about this seller."`
	State  string `env:"-" placeholder:"STATE" help:"Only those that are PENDING, DELIVERED, DEAD or SUPERSEDED."`
	paging
	operator
}

func (c webhookList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Delivery], error) {
		return api.Deliveries(ctx, admin.DeliveriesFilter{Page: c.page(), AppID: c.App, SellerID: c.Seller, State: c.State})
	}, "id appId event state attempts createdAt finishedAt requestNo sellerId", func(d admin.Delivery) []any {
		return []any{d.ID, d.AppID, d.Event, d.State, d.Attempts, d.CreatedAt, d.FinishedAt, d.RequestNo, d.SellerID}
	})
}

type webhookShow struct {
	ID admin.ID `arg:"" help:"The webhook."`
	operator
}

func (c webhookShow) Run(ctx context.Context, con console) error {
	return show(con, c.operator, func(api *admin.Client) (admin.DeliveryDetail, error) { return api.Delivery(ctx, c.ID) })
}

type webhookReplay struct {
	ID admin.ID `arg:"" help:"The webhook."`
	actor
}

func (c webhookReplay) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Delivery, error) { return api.ReplayDelivery(ctx, c.ID, a) })
}
