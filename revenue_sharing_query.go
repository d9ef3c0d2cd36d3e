package infinia

import "context"

// RevenueSharingQueryRequest names a share by its requestNo.
type RevenueSharingQueryRequest struct {
	RequestNo string `json:"requestNo" rule:"M 64 requestNo" doc:"of the share"`
}

// RevenueSharingQueryReply tells the share's last committed state. A refused requestNo is FAILED with its refusal.
type RevenueSharingQueryReply struct {
	RequestNo  string      `json:"requestNo" doc:"as sent"`
	SellerID   string      `json:"sellerId,omitempty" doc:"of the share; empty for a refused one"`
	Currency   string      `json:"currency,omitempty" doc:"of the share; empty for a refused one"`
	Amount     string      `json:"amount,omitempty" doc:"canonical, such as 100.00; empty for a refused one"`
	Status     ShareStatus `json:"status" doc:"PROCESSING, SUCCESS or FAILED"`
	FailCode   Code        `json:"failCode,omitempty" doc:"when failed"`
	FailReason string      `json:"failReason,omitempty" doc:"when failed"`
	FinishTime string      `json:"finishTime,omitempty" doc:"when finished, RFC 3339 in UTC"`
}

// RevenueSharingQuery asks how a share stands.
func (c *Client) RevenueSharingQuery(ctx context.Context, req RevenueSharingQueryRequest) (RevenueSharingQueryReply, error) {
	return call[RevenueSharingQueryReply](ctx, c, OpRevenueSharingQuery, req.RequestNo, req)
}
