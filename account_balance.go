package infinia

import "context"

// AccountBalanceRequest asks for the platform's own account in one currency.
type AccountBalanceRequest struct {
	Currency string `json:"currency" rule:"M 3 currency" doc:"three letters, such as CNH"`
}

// AccountBalanceReply has decimal amounts in the currency [O].
type AccountBalanceReply struct {
	Currency         string `json:"currency" doc:"as sent"`
	AvailableBalance string `json:"availableBalance" doc:"what can be shared now"`
	FrozenBalance    string `json:"frozenBalance" doc:"what is held for shares in process"`
	TotalBalance     string `json:"totalBalance" doc:"both together"`
}

// AccountBalance asks what the platform's account holds.
func (c *Client) AccountBalance(ctx context.Context, req AccountBalanceRequest) (AccountBalanceReply, error) {
	return call[AccountBalanceReply](ctx, c, OpAccountBalance, "", req)
}
