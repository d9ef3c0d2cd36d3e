package infinia

import "context"

// AccountBindingQueryRequest names a binding by its requestNo, or by seller and currency, which means the newest one.
type AccountBindingQueryRequest struct {
	RequestNo string `json:"requestNo,omitempty" rule:"C 64 requestNo" doc:"of the binding; this, or sellerId and currency, or all three"`
	SellerID  string `json:"sellerId,omitempty" rule:"C 64 id" doc:"with currency"`
	Currency  string `json:"currency,omitempty" rule:"C 3 currency" doc:"with sellerId"`
}

// AccountBindingQueryReply tells the binding's last committed state.
type AccountBindingQueryReply struct {
	RequestNo    string        `json:"requestNo" doc:"of the binding"`
	SellerID     string        `json:"sellerId,omitempty" doc:"the seller; empty for a refused request"`
	Currency     string        `json:"currency,omitempty" doc:"of the binding; empty for a refused request"`
	Status       BindingStatus `json:"status" doc:"PROCESSING, SUCCESS, FAILED or REVOKED"`
	SellerStatus SellerStatus  `json:"sellerStatus,omitempty" doc:"ACTIVE or FROZEN, once bound"`
	FailReason   string        `json:"failReason,omitempty" doc:"why it failed or was revoked"`
}

// SellerStatus belongs to a seller of an app in all currencies.
type SellerStatus string

// A frozen seller receives nothing until resumed.
const (
	SellerActive   SellerStatus = "ACTIVE"
	SellerIsFrozen SellerStatus = "FROZEN"
)

// AccountBindingQuery asks how a binding stands.
func (c *Client) AccountBindingQuery(ctx context.Context, req AccountBindingQueryRequest) (AccountBindingQueryReply, error) {
	return call[AccountBindingQueryReply](ctx, c, OpAccountBindingQuery, req.RequestNo, req)
}
