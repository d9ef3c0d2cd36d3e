package infinia

import "context"

// TradeDetailsQueryRequest names an uploaded file, and one seller's part of it if wished.
type TradeDetailsQueryRequest struct {
	RequestNo string `json:"requestNo" rule:"M 64 requestNo" doc:"of the file: its name without .csv"`
	SellerID  string `json:"sellerId,omitempty" rule:"O 64 id" doc:"to ask for one seller's part"`
	Currency  string `json:"currency,omitempty" rule:"O 3 currency" doc:"to ask for one currency's part"`
}

// TradeDetailsQueryReply tells how the newest attempt at the file stands; the first four fields and errorFileUrl are [D].
type TradeDetailsQueryReply struct {
	Status       FileStatus `json:"status" doc:"PROCESSING, SUCCESS, FAILED, or PARTIAL where the app's setting allows it"`
	RequestNo    string     `json:"requestNo" doc:"as sent"`
	SellerID     string     `json:"sellerId,omitempty" doc:"when the file or the question is about one"`
	Currency     string     `json:"currency,omitempty" doc:"when the file or the question is about one"`
	ErrorFileURL string     `json:"errorFileUrl,omitempty" doc:"only when rows failed; expires after 24 hours"`
	TotalRows    string     `json:"totalRows,omitempty" doc:"rows read"`
	AcceptedRows string     `json:"acceptedRows,omitempty" doc:"rows that count"`
	RejectedRows string     `json:"rejectedRows,omitempty" doc:"rows with an error"`
	Attempt      string     `json:"attempt,omitempty" doc:"1 for the first content under this requestNo"`
	FailReason   string     `json:"failReason,omitempty" doc:"a fault of the whole file"`
	Progress     string     `json:"progress,omitempty" doc:"while PROCESSING: how many percent of the work are done, an estimate"`

	ErrorFileErasedAt string `json:"errorFileErasedAt,omitempty" doc:"when the error file was erased, RFC 3339 in UTC: there is no errorFileUrl any more"`
}

// FileStatus is where a trade file stands.
type FileStatus string

// A file is judged whole; PARTIAL means that its good rows count.
const (
	FileProcessing FileStatus = "PROCESSING"
	FileSuccess    FileStatus = "SUCCESS"
	FileFailed     FileStatus = "FAILED"
	FilePartial    FileStatus = "PARTIAL"
)

// TradeDetailsQuery asks how an uploaded trade file stands.
func (c *Client) TradeDetailsQuery(ctx context.Context, req TradeDetailsQueryRequest) (TradeDetailsQueryReply, error) {
	return call[TradeDetailsQueryReply](ctx, c, OpTradeDetailsQuery, req.RequestNo, req)
}
