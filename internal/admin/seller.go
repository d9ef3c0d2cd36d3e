package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Seller is somebody whom an app asked to bind; its status holds in all currencies.
type Seller struct {
	ID        ID        `json:"id"`
	AppID     string    `json:"appId"`
	SellerID  string    `json:"sellerId"`
	Status    string    `json:"status" enum:"ACTIVE,FROZEN"`
	ChangedAt time.Time `json:"changedAt"`
	CreatedAt time.Time `json:"createdAt"`
}

// SellerAct freezes or resumes a seller. The sellerId is the app's own and may hold any character, so that it cannot be in
// a path.
type SellerAct struct {
	Act
	SellerID string `json:"sellerId" minLength:"1" maxLength:"64"`
}

// SellersFilter says which sellers are wanted.
type SellersFilter struct {
	Page
	AppID    string `query:"appId"`
	SellerID string `query:"sellerId"`
	Status   string `query:"status" enum:"ACTIVE,FROZEN"`
}

func sellers(s *server) {
	list(s, "/sellers", "list-sellers", "Sellers",
		func(ctx context.Context, q *pgdb.Queries, f SellersFilter, before int64, most int32) ([]pgdb.Seller, error) {
			return q.PageSellers(ctx, pgdb.PageSellersParams{Before: before, AppID: f.AppID, SellerID: f.SellerID, Status: f.Status, Most: most})
		}, shown(showSeller), func(x Seller) ID { return x.ID })
	for _, verb := range []struct {
		path, summary string
		status        infinia.SellerStatus
	}{
		{"freeze", "Freeze a seller and tell the app", infinia.SellerIsFrozen},
		{"resume", "Resume a frozen seller and tell the app", infinia.SellerActive},
	} {
		handle(s, http.MethodPost, "/apps/{appId}/sellers/"+verb.path, verb.path+"-seller", verb.summary,
			func(ctx context.Context, in *onApp[SellerAct]) (Seller, error) {
				return s.setSeller(ctx, "seller."+verb.path, verb.status, in)
			})
	}
}

func (s *server) setSeller(ctx context.Context, name string, status infinia.SellerStatus, in *onApp[SellerAct]) (Seller, error) {
	k := store.SellerKey{AppID: in.AppID, SellerID: in.Body.SellerID}
	return once(ctx, s, act[Seller]{Act: in.Body.Act, name: name, appID: in.AppID, content: in,
		keys: store.Keys{Apps: []string{in.AppID}, Sellers: []store.SellerKey{k}, Events: []store.SellerKey{k}},
		judge: func(v *store.View) (c change[Seller], err error) {
			if _, err := appOf(v, in.AppID); err != nil {
				return c, err
			}
			before, _ := v.Sellers.Get(k)
			if err := op.SetSellerStatus(v, k, status); err != nil {
				return c, err
			}
			after, _ := v.Sellers.Get(k)
			return change[Seller]{subject: "seller " + k.SellerID, before: showSeller(before), after: showSeller(after)}, nil
		}})
}

func showSeller(r pgdb.Seller) Seller {
	return Seller{ID: idOf(r.ID), AppID: r.AppID, SellerID: r.SellerID, Status: r.Status, ChangedAt: at(r.ChangedAt), CreatedAt: at(r.CreatedAt)}
}
