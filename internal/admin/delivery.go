package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Delivery is a webhook to an app.
type Delivery struct {
	ID         ID              `json:"id"`
	AppID      string          `json:"appId"`
	SellerID   string          `json:"sellerId,omitempty"`
	RequestNo  string          `json:"requestNo"`
	Event      string          `json:"event"`
	Content    json.RawMessage `json:"content" doc:"what is encrypted and sent"`
	State      string          `json:"state" enum:"PENDING,DELIVERED,DEAD,SUPERSEDED"`
	Attempts   int64           `json:"attempts"`
	CreatedAt  time.Time       `json:"createdAt"`
	DueAt      time.Time       `json:"dueAt"`
	FinishedAt time.Time       `json:"finishedAt,omitzero"`
}

// DeliveryDetail is a delivery with every try at it.
type DeliveryDetail struct {
	Delivery
	Tries []DeliveryTry `json:"tries"`
}

// DeliveryTry is one try; Fault is empty when the endpoint took it.
type DeliveryTry struct {
	Attempt    int64     `json:"attempt"`
	At         time.Time `json:"at"`
	TookMillis int64     `json:"tookMillis"`
	HTTPStatus int64     `json:"httpStatus,omitempty"`
	Answer     string    `json:"answer,omitempty"`
	Fault      string    `json:"fault,omitempty"`
}

// DeliveriesFilter says which deliveries are wanted.
type DeliveriesFilter struct {
	Page
	AppID    string `query:"appId"`
	SellerID string `query:"sellerId"`
	State    string `query:"state" enum:"PENDING,DELIVERED,DEAD,SUPERSEDED"`
}

func deliveries(s *server) {
	list(s, "/deliveries", "list-deliveries", "Webhooks",
		func(ctx context.Context, q *pgdb.Queries, f DeliveriesFilter, before int64, most int32) ([]pgdb.Delivery, error) {
			return q.PageDeliveries(ctx, pgdb.PageDeliveriesParams{Before: before, AppID: f.AppID, SellerID: f.SellerID, State: f.State, Most: most})
		}, shown(showDelivery), func(d Delivery) ID { return d.ID })
	get(s, "/deliveries/{id}", "get-delivery", "One webhook with every try at it",
		func(ctx context.Context, q *pgdb.Queries, id int64) (d DeliveryDetail, err error) {
			row, err := q.GetDelivery(ctx, id)
			if err != nil {
				return d, err
			}
			tries, err := q.ListAttempts(ctx, id)
			d = DeliveryDetail{Delivery: showDelivery(row), Tries: []DeliveryTry{}}
			for _, t := range tries {
				d.Tries = append(d.Tries, DeliveryTry{Attempt: t.Attempt, At: at(t.At), TookMillis: t.TookMS, HTTPStatus: t.HTTPStatus, Answer: t.Answer, Fault: t.Fault})
			}
			return d, err
		})
	handle(s, http.MethodPost, "/deliveries/{id}/replay", "replay-delivery", "Send a webhook once more, under the same requestNo", s.replay)
}

func (s *server) replay(ctx context.Context, in *onID[Act]) (Delivery, error) {
	id := in.ID.number()
	found, err := read(ctx, s, func(q *pgdb.Queries) (pgdb.Delivery, error) { return q.GetDelivery(ctx, id) })
	if err != nil {
		return Delivery{}, err
	}
	return once(ctx, s, act[Delivery]{Act: in.Body, name: "delivery.replay", appID: found.AppID, content: in, keys: store.Keys{Deliveries: []int64{id}},
		alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (c change[Delivery], err error) {
			d, _ := v.Deliveries.Get(id)
			newest := d
			if d.Event == outbox.EventSellerStatus {
				if newest, err = q.NewestStatusDelivery(ctx, pgdb.NewestStatusDeliveryParams{AppID: d.AppID, SellerID: d.SellerID, Event: d.Event}); err != nil {
					return c, err
				}
			}
			if err := outbox.Replay(v, d, newest); err != nil {
				return c, err
			}
			after, _ := v.Deliveries.Get(id)
			return change[Delivery]{subject: fmt.Sprintf("delivery %d", id), before: showDelivery(d), after: showDelivery(after)}, nil
		}})
}

func showDelivery(r pgdb.Delivery) Delivery {
	return Delivery{ID: idOf(r.ID), AppID: r.AppID, SellerID: r.SellerID, RequestNo: r.RequestNo, Event: r.Event, Content: json.RawMessage(r.Content),
		State: r.State, Attempts: r.Attempts, CreatedAt: at(r.CreatedAt), DueAt: at(r.DueAt), FinishedAt: at(r.FinishedAt)}
}
