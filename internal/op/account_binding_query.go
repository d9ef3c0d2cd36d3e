package op

import (
	"context"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

func accountBindingQuery(ctx context.Context, _ *Engine, q *pgdb.Queries, appID string, r infinia.AccountBindingQueryRequest) (rep infinia.AccountBindingQueryReply, err error) {
	if err := bindingNamed(r); err != nil {
		return rep, err
	}
	var b pgdb.Binding
	if r.RequestNo != "" {
		req, err := storedRequest(ctx, q, appID, infinia.OpAccountBinding, r.RequestNo)
		if err != nil {
			return rep, err
		}
		if req.Code != "" {
			return infinia.AccountBindingQueryReply{RequestNo: r.RequestNo, Status: infinia.BindingFailed, FailReason: req.Code + ": " + infinia.Code(req.Code).Message()}, nil
		}
		if b, err = q.GetBinding(ctx, req.RecordID); err != nil {
			return rep, err
		}
		if r.SellerID != "" && (r.SellerID != b.SellerID || r.Currency != b.Currency) {
			return rep, refuse(infinia.NotFound, "requestNo", "is not of this seller and currency")
		}
	} else {
		bindings, err := q.ListBindingsOfSeller(ctx, pgdb.ListBindingsOfSellerParams{AppID: appID, SellerID: r.SellerID})
		if err != nil {
			return rep, err
		}
		for _, candidate := range bindings { // oldest first
			if candidate.Currency == r.Currency {
				b = candidate
			}
		}
		if b.ID == 0 {
			return rep, refuse(infinia.NotFound, "sellerId", "has no binding in this currency")
		}
	}
	rep = infinia.AccountBindingQueryReply{RequestNo: b.RequestNo, SellerID: b.SellerID, Currency: b.Currency,
		Status: BindingStatus(b.State), FailReason: b.FailReason}
	if r.RequestNo != "" {
		rep.RequestNo = r.RequestNo // which may be a later one that the binding answered for
	}
	if b.BoundAt > 0 {
		s, err := q.GetSeller(ctx, pgdb.GetSellerParams{AppID: appID, SellerID: b.SellerID})
		if err != nil && !store.NotFound(err) {
			return rep, err
		}
		rep.SellerStatus = infinia.SellerStatus(s.Status)
	}
	return rep, nil
}

// bindingNamed demands requestNo, or sellerId with currency.
func bindingNamed(r infinia.AccountBindingQueryRequest) error {
	var faults []infinia.FieldError
	missing := func(field, message string) {
		faults = append(faults, infinia.FieldError{Field: field, Code: infinia.Missing, Message: message})
	}
	switch {
	case r.SellerID != "" && r.Currency == "":
		missing("currency", "is mandatory with sellerId")
	case r.SellerID == "" && r.Currency != "":
		missing("sellerId", "is mandatory with currency")
	case r.RequestNo == "" && r.SellerID == "":
		missing("requestNo", "is mandatory without sellerId and currency")
	}
	if len(faults) > 0 {
		return infinia.Errorf(infinia.Missing, faults...)
	}
	return nil
}
