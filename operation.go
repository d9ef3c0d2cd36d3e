package infinia

// Operation names one call of the API. Its path is "/v1/" and the name, after the base URL; a server's configuration can
// override the path [O].
type Operation string

// The operations. Paths 1 and 7 are [D], the others [O].
const (
	OpAccountBinding      Operation = "account-binding/request"
	OpAccountBindingQuery Operation = "account-binding/query"
	OpTradeDetailsQuery   Operation = "trade-details/query"
	OpAccountBalance      Operation = "account-balance/query"
	OpAvailableRevenue    Operation = "available-revenue/query"
	OpRevenueSharing      Operation = "revenue-sharing/request"
	OpRevenueSharingQuery Operation = "revenue-sharing/query"
)

// Path is where the operation is called, relative to the base URL that ends in /api.
func (o Operation) Path() string { return "/v1/" + string(o) }
