package op

import (
	"context"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

func revenueSharingQuery(ctx context.Context, _ *Engine, q *pgdb.Queries, appID string, r infinia.RevenueSharingQueryRequest) (rep infinia.RevenueSharingQueryReply, err error) {
	req, err := storedRequest(ctx, q, appID, infinia.OpRevenueSharing, r.RequestNo)
	if err != nil {
		return rep, err
	}
	if req.Code != "" {
		code := infinia.Code(req.Code)
		return infinia.RevenueSharingQueryReply{RequestNo: r.RequestNo, Status: infinia.ShareFailed, FailCode: code,
			FailReason: code.Message(), FinishTime: timeText(req.At)}, nil
	}
	s, err := q.GetShare(ctx, req.RecordID)
	if err != nil {
		return rep, err
	}
	rep = infinia.RevenueSharingQueryReply{RequestNo: s.RequestNo, SellerID: s.SellerID, Currency: s.Currency,
		Amount: amountText(s.Amount, s.Currency), Status: shareStatus(s.State), FinishTime: timeText(s.FinishedAt)}
	if s.FailCode != "" {
		rep.FailCode = infinia.Code(s.FailCode)
		rep.FailReason = rep.FailCode.Message()
	}
	return rep, nil
}

// storedRequest finds what was committed under a requestNo; NotFound means that nothing is, yet.
func storedRequest(ctx context.Context, q *pgdb.Queries, appID string, op infinia.Operation, requestNo string) (pgdb.Request, error) {
	req, err := q.GetRequest(ctx, pgdb.GetRequestParams{AppID: appID, Operation: string(op), RequestNo: requestNo})
	if store.NotFound(err) {
		return req, refuse(infinia.NotFound, "requestNo", "nothing is committed under this number yet")
	}
	return req, err
}

// timeText is a time on the wire: RFC 3339 in UTC, empty for never.
func timeText(millis int64) string {
	if millis == 0 {
		return ""
	}
	return store.Time(millis).Format(time.RFC3339)
}
