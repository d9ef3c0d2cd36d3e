package infinia

// Code is the outcome of a call, in the envelope's member code. Every code but Success is a failure.
type Code string

// The codes. SUC and SYS are [D]; SEC and BIZ are [O], in groups of their own so that they never collide with a SYS
// number that is not public.
const (
	Success Code = "SUC-200" // done

	DatabaseFault     Code = "SYS-001" // the database failed and certainly nothing was committed
	InvalidParameters Code = "SYS-002" // several kinds of fault, or one that no other code names; see the fields
	InternalFault     Code = "SYS-003" // a fault of the server; certainly nothing was committed
	Missing           Code = "SYS-004" // a mandatory parameter is missing, null or empty
	Malformed         Code = "SYS-005" // a parameter has another form than it must have
	OutOfRange        Code = "SYS-006" // a parameter has a value that is not among the possible ones
	TooLarge          Code = "SYS-007" // the payload is too large
	Unavailable       Code = "SYS-008" // try again later, under the same requestNo

	NotAuthenticated  Code = "SEC-001" // unknown app, disabled app or wrong signature: one answer for all
	Unreadable        Code = "SEC-002" // requestData cannot be read: wrong key, padding, Base64 or JSON
	NotAllowed        Code = "SEC-003" // the app may not call this operation
	TooManyRequests   Code = "SEC-004" // slow down and try again, under the same requestNo
	AddressNotAllowed Code = "SEC-005" // the app may not call from this address

	RequestNoReused     Code = "BIZ-001" // the requestNo was used with other content; the fields that differ are named
	NotFound            Code = "BIZ-002" // nothing is committed under this number
	SellerNotBound      Code = "BIZ-003" // the seller has no binding in this currency that is SUCCESS
	SellerFrozen        Code = "BIZ-004" // the seller is frozen
	OverAvailableShare  Code = "BIZ-005" // the amount is over the seller's available share
	OverBalance         Code = "BIZ-006" // the amount is over the platform's available balance
	CurrencyNotUsable   Code = "BIZ-007" // the app may not use this currency
	BoundUnderOtherCert Code = "BIZ-008" // the seller is bound under another certificate
	Expired             Code = "BIZ-009" // the link or the quote has expired
	OverLimit           Code = "BIZ-010" // the amount is over a limit that the operator set
)

// codes says of each code, in order, what it means and what its receiver can do; the message fits the 64 characters of the
// envelope [D].
var codes = []struct {
	code            Code
	message, remedy string
}{
	{Success, "success", ""},
	{DatabaseFault, "database fault, nothing was done", "report the trace id to the operator"},
	{InvalidParameters, "invalid parameters", "mend the fields that the answer names"},
	{InternalFault, "internal fault, nothing was done", "report the trace id to the operator"},
	{Missing, "a mandatory parameter is missing", "add the fields that the answer names"},
	{Malformed, "a parameter is malformed", "mend the fields that the answer names"},
	{OutOfRange, "a parameter is out of range", "mend the fields that the answer names"},
	{TooLarge, "the payload is too large", "send less"},
	{Unavailable, "unavailable, try again later", "send the same request again under the same requestNo"},
	{NotAuthenticated, "not authenticated", "check appId, and that the registered key signs the Base64 text of requestData"},
	{Unreadable, "requestData cannot be read", "encrypt one JSON object with the platform's key, RSAES-PKCS1-v1_5, one standard Base64 over all blocks"},
	{NotAllowed, "operation not allowed for this app", "ask the operator to allow it"},
	{TooManyRequests, "too many requests", "wait, then send the same request again under the same requestNo"},
	{AddressNotAllowed, "address not allowed for this app", "ask the operator to list the address"},
	{RequestNoReused, "requestNo was used with other content", "use a new requestNo for another content"},
	{NotFound, "not found", "check the number; to be sure of a call, send it again under the same requestNo; a trade file is known once its upload is complete and taken over"},
	{SellerNotBound, "the seller is not bound in this currency", "bind the seller's account first"},
	{SellerFrozen, "the seller is frozen", "wait until the seller is resumed, then use a new requestNo"},
	{OverAvailableShare, "over the seller's available share", "file trades that cover it, then use a new requestNo"},
	{OverBalance, "over the platform's balance", "fund the account, then use a new requestNo"},
	{CurrencyNotUsable, "currency not usable here", "use a currency that the operator enabled for the app"},
	{BoundUnderOtherCert, "the seller is bound under another certificate", "use the sellerCertNo that the seller is bound under"},
	{Expired, "expired", "ask for a new one"},
	{OverLimit, "over a limit", "share less, or another day, under a new requestNo"},
}

// Codes returns every code, in order.
func Codes() []Code {
	all := make([]Code, len(codes))
	for i, c := range codes {
		all[i] = c.code
	}
	return all
}

func (c Code) known() (message, remedy string, ok bool) {
	for _, k := range codes {
		if k.code == c {
			return k.message, k.remedy, true
		}
	}
	return "", "", false
}

// Message is the code's meaning in at most 64 characters [D].
func (c Code) Message() string { message, _, _ := c.known(); return message }

// Remedy says what the receiver of the code can do about it.
func (c Code) Remedy() string { _, remedy, _ := c.known(); return remedy }

// Known says whether the code is one of this package's constants.
func (c Code) Known() bool { _, _, ok := c.known(); return ok }

// Retryable says whether the same request is worth another try under the same requestNo. No other code is.
func (c Code) Retryable() bool { return c == Unavailable || c == TooManyRequests }
