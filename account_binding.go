package infinia

import "context"

// AccountBindingRequest asks that a seller bind an account in one currency. The documented example is valid as it stands [D].
type AccountBindingRequest struct {
	RequestNo    string `json:"requestNo" rule:"M 64 requestNo" doc:"the caller's number; the same number with the same content is the same request"`
	SellerID     string `json:"sellerId" rule:"M 64 id" doc:"the platform's name of the seller"`
	SellerCertNo string `json:"sellerCertNo" rule:"M 64 text" doc:"number of the seller's identity or registration certificate"`
	SellerName   string `json:"sellerName" rule:"M 256 text" doc:"legal name of the seller"`
	StoreName    string `json:"storeName" rule:"M 256 text" doc:"name of the store"`
	StoreURL     string `json:"storeUrl" rule:"M 2048 url" doc:"address of the store, http or https"`
	EntityType   string `json:"entityType" rule:"M 16 enum=Individual|Corporate" doc:"Individual or Corporate [C]"`
	Country      string `json:"country" rule:"M 3 country" doc:"ISO 3166-1 alpha-3, such as CHN"`
	Currency     string `json:"currency" rule:"M 3 currency" doc:"three letters, such as CNH"`
	Note         string `json:"note,omitempty" rule:"O 512 text" doc:"shown to the seller and to the operator"`
	BacklinkURL  string `json:"backlinkUrl,omitempty" rule:"O 2048 url" doc:"where the seller's browser goes afterwards; https only in production"`
}

// AccountBindingReply says how the binding stands. RedirectURL is a secret for the seller's browser alone; it is there
// only while the seller has still to confirm.
type AccountBindingReply struct {
	RequestNo   string        `json:"requestNo" doc:"as sent"`
	SellerID    string        `json:"sellerId" doc:"as sent"`
	Status      BindingStatus `json:"status" doc:"PROCESSING, SUCCESS, FAILED or REVOKED"`
	RedirectURL string        `json:"redirectUrl,omitempty" doc:"the hosted page, valid 30 minutes; only while the seller has to confirm [C]"`
}

// BindingStatus is where a binding stands.
type BindingStatus string

// PROCESSING ends in SUCCESS or FAILED; SUCCESS may end in REVOKED.
const (
	BindingProcessing BindingStatus = "PROCESSING"
	BindingSuccess    BindingStatus = "SUCCESS"
	BindingFailed     BindingStatus = "FAILED"
	BindingRevoked    BindingStatus = "REVOKED"
)

// AccountBinding asks that a seller bind an account, and answers with the link to send the seller to.
func (c *Client) AccountBinding(ctx context.Context, req AccountBindingRequest) (AccountBindingReply, error) {
	return call[AccountBindingReply](ctx, c, OpAccountBinding, req.RequestNo, req)
}
