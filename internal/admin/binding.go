package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Binding is a seller's account in one currency, on its way or bound. Its link is known to nobody but the app.
type Binding struct {
	ID           ID        `json:"id"`
	AppID        string    `json:"appId"`
	SellerID     string    `json:"sellerId"`
	Currency     string    `json:"currency"`
	RequestNo    string    `json:"requestNo"`
	SellerCertNo string    `json:"sellerCertNo"`
	SellerName   string    `json:"sellerName"`
	StoreName    string    `json:"storeName"`
	StoreURL     string    `json:"storeUrl"`
	EntityType   string    `json:"entityType"`
	Country      string    `json:"country"`
	Note         string    `json:"note,omitempty"`
	State        string    `json:"state" enum:"AWAITING_SELLER,AWAITING_REVIEW,SUCCESS,FAILED,REVOKED"`
	FailReason   string    `json:"failReason,omitempty"`
	CreatedAt    time.Time `json:"createdAt"`
	ConfirmBy    time.Time `json:"confirmBy"`
	ConfirmedAt  time.Time `json:"confirmedAt,omitzero"`
	DecidedAt    time.Time `json:"decidedAt,omitzero"`
	BoundAt      time.Time `json:"boundAt,omitzero"`
}

// BindingDetail is a binding with the evidence that the seller confirmed it.
type BindingDetail struct {
	Binding
	Consent *op.Consent `json:"consent,omitempty"`
}

// BindingsFilter says which bindings are wanted.
type BindingsFilter struct {
	Page
	AppID    string `query:"appId"`
	SellerID string `query:"sellerId"`
	State    string `query:"state" enum:"AWAITING_SELLER,AWAITING_REVIEW,SUCCESS,FAILED,REVOKED"`
}

func bindings(s *server) {
	list(s, "/bindings", "list-bindings", "Bindings",
		func(ctx context.Context, q *pgdb.Queries, f BindingsFilter, before int64, most int32) ([]pgdb.Binding, error) {
			return q.PageBindings(ctx, pgdb.PageBindingsParams{Before: before, AppID: f.AppID, SellerID: f.SellerID, State: f.State, Most: most})
		}, shown(showBinding), func(b Binding) ID { return b.ID })
	get(s, "/bindings/{id}", "get-binding", "One binding with the seller's consent",
		func(ctx context.Context, q *pgdb.Queries, id int64) (d BindingDetail, err error) {
			row, err := q.GetBinding(ctx, id)
			if err != nil {
				return d, err
			}
			d.Binding = showBinding(row)
			if row.Consent != "" {
				err = json.Unmarshal([]byte(row.Consent), &d.Consent)
			}
			return d, err
		})
	for _, verb := range []struct {
		path, summary string
		judge         func(v *store.View, b pgdb.Binding, reason string) error
	}{
		{"approve", "End a review with SUCCESS; FAILED when the seller was bound under another certificate meanwhile",
			func(v *store.View, b pgdb.Binding, _ string) error { _, err := op.Approve(v, b); return err }},
		{"reject", "End a review with FAILED; the app can read the reason", op.Reject},
		{"revoke", "Take a successful binding back; the app can read the reason", op.Revoke},
	} {
		handle(s, http.MethodPost, "/bindings/{id}/"+verb.path, verb.path+"-binding", verb.summary,
			func(ctx context.Context, in *onID[Act]) (Binding, error) {
				return s.decide(ctx, "binding."+verb.path, in, verb.judge)
			})
	}
}

func (s *server) decide(ctx context.Context, name string, in *onID[Act], judge func(v *store.View, b pgdb.Binding, reason string) error) (Binding, error) {
	id := in.ID.number()
	found, err := read(ctx, s, func(q *pgdb.Queries) (pgdb.Binding, error) { return q.GetBinding(ctx, id) })
	if err != nil {
		return Binding{}, err
	}
	return once(ctx, s, act[Binding]{Act: in.Body, name: name, appID: found.AppID, content: in,
		keys: store.Keys{Apps: []string{found.AppID}, Sellers: []store.SellerKey{{AppID: found.AppID, SellerID: found.SellerID}}},
		judge: func(v *store.View) (c change[Binding], err error) {
			before, _ := v.Bindings.Get(id)
			if err := judge(v, before, in.Body.Reason); err != nil {
				return c, err
			}
			after, _ := v.Bindings.Get(id)
			return change[Binding]{subject: fmt.Sprintf("binding %d", id), before: showBinding(before), after: showBinding(after)}, nil
		}})
}

func showBinding(r pgdb.Binding) Binding {
	return Binding{ID: idOf(r.ID), AppID: r.AppID, SellerID: r.SellerID, Currency: r.Currency, RequestNo: r.RequestNo, SellerCertNo: r.SellerCertNo,
		SellerName: r.SellerName, StoreName: r.StoreName, StoreURL: r.StoreURL, EntityType: r.EntityType, Country: r.Country, Note: r.Note,
		State: r.State, FailReason: r.FailReason, CreatedAt: at(r.CreatedAt), ConfirmBy: at(r.ConfirmBy), ConfirmedAt: at(r.ConfirmedAt),
		DecidedAt: at(r.DecidedAt), BoundAt: at(r.BoundAt)}
}
