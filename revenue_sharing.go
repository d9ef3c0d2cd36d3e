package infinia

import "context"

// RevenueSharingRequest moves an amount from the platform's account to a bound seller.
type RevenueSharingRequest struct {
	RequestNo string `json:"requestNo" rule:"M 64 requestNo" doc:"the caller's number; acts once, for ever"`
	SellerID  string `json:"sellerId" rule:"M 64 id" doc:"a seller bound in this currency"`
	Currency  string `json:"currency" rule:"M 3 currency" doc:"three letters, such as CNH"`
	Amount    string `json:"amount" rule:"M 16 amount" doc:"decimal, above zero, at most 12 digits before the point"`
	Note      string `json:"note,omitempty" rule:"O 512 text" doc:"kept with the share"`
}

// RevenueSharingReply says that the share was accepted and its money held; ask RevenueSharingQuery for the end.
type RevenueSharingReply struct {
	RequestNo string      `json:"requestNo" doc:"as sent"`
	SellerID  string      `json:"sellerId" doc:"as sent"`
	Currency  string      `json:"currency" doc:"as sent"`
	Amount    string      `json:"amount" doc:"canonical, such as 100.00"`
	Status    ShareStatus `json:"status" doc:"PROCESSING, or the present state when repeated"`
}

// ShareStatus is where a share stands.
type ShareStatus string

// PROCESSING ends in SUCCESS or FAILED, for good.
const (
	ShareProcessing ShareStatus = "PROCESSING"
	ShareSuccess    ShareStatus = "SUCCESS"
	ShareFailed     ShareStatus = "FAILED"
)

// RevenueSharing shares revenue with a seller.
func (c *Client) RevenueSharing(ctx context.Context, req RevenueSharingRequest) (RevenueSharingReply, error) {
	return call[RevenueSharingReply](ctx, c, OpRevenueSharing, req.RequestNo, req)
}
