package op

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

func tradeDetailsQuery(ctx context.Context, e *Engine, q *pgdb.Queries, appID string, r infinia.TradeDetailsQueryRequest) (rep infinia.TradeDetailsQueryReply, err error) {
	f, err := q.NewestTradeFile(ctx, pgdb.NewestTradeFileParams{AppID: appID, RequestNo: r.RequestNo})
	if store.NotFound(err) {
		return rep, refuse(infinia.NotFound, "requestNo", "no complete file has arrived under this number")
	}
	if err != nil {
		return rep, err
	}
	rep = infinia.TradeDetailsQueryReply{Status: trade.Status(f.State), RequestNo: f.RequestNo, SellerID: cmp.Or(r.SellerID, f.SellerID),
		Currency: cmp.Or(r.Currency, f.Currency), Attempt: strconv.FormatInt(f.Attempt, 10), FailReason: f.FailReason}
	if rep.Status == infinia.FileProcessing {
		percent, err := trade.Progress(ctx, q, f)
		rep.Progress = strconv.FormatInt(percent, 10)
		return rep, err
	}
	total, accepted, rejected := f.TotalRows, f.AcceptedRows, f.RejectedRows
	if r.SellerID != "" || r.Currency != "" {
		parts, err := q.ListTradeParts(ctx, f.ID)
		if err != nil {
			return rep, err
		}
		total, accepted, rejected = 0, 0, 0
		for _, p := range parts {
			if (r.SellerID == "" || r.SellerID == p.SellerID) && (r.Currency == "" || r.Currency == p.Currency) {
				total, accepted, rejected = total+p.TotalRows, accepted+p.AcceptedRows, rejected+p.RejectedRows
			}
		}
	}
	rep.TotalRows, rep.AcceptedRows, rep.RejectedRows = strconv.FormatInt(total, 10), strconv.FormatInt(accepted, 10), strconv.FormatInt(rejected, 10)
	if at := trade.ErrorsErased(f); at > 0 {
		rep.ErrorFileErasedAt = store.Time(at).Format(time.RFC3339)
	}
	if f.RejectedRows > 0 && f.ErrorsID != 0 { // of whatever seller: a row whose seller is wrong belongs to no part
		rep.ErrorFileURL = e.ErrorLink(f)
	}
	return rep, nil
}
