package infinia

import "context"

// AvailableRevenueRequest asks what a seller may still receive in a currency.
type AvailableRevenueRequest struct {
	SellerID string `json:"sellerId" rule:"M 64 id" doc:"the seller"`
	Currency string `json:"currency" rule:"M 3 currency" doc:"three letters, such as CNH"`
}

// AvailableRevenueReply has decimal amounts in the currency [O]. AvailableAmount is the capped tradeAmount less shared and
// processing; when that is below zero it is 0 and OverSharedAmount says by how much.
type AvailableRevenueReply struct {
	SellerID         string `json:"sellerId" doc:"as sent"`
	Currency         string `json:"currency" doc:"as sent"`
	AvailableAmount  string `json:"availableAmount" doc:"what may still be shared"`
	TradeAmount      string `json:"tradeAmount" doc:"accepted trades, returns taken off, before the cap"`
	SharedAmount     string `json:"sharedAmount" doc:"settled shares"`
	ProcessingAmount string `json:"processingAmount" doc:"shares in process"`
	OverSharedAmount string `json:"overSharedAmount" doc:"by how much shares exceed what trades allow"`
}

// AvailableRevenue asks what a seller may still receive.
func (c *Client) AvailableRevenue(ctx context.Context, req AvailableRevenueRequest) (AvailableRevenueReply, error) {
	return call[AvailableRevenueReply](ctx, c, OpAvailableRevenue, "", req)
}
