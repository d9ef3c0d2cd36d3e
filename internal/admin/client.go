package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/openinfinia/infinia"
)

// Client calls the API. Its failures are an *Error when the server answered.
type Client struct {
	base, token string
	http        *http.Client
}

// NewClient makes a client; base ends in /admin/v1. Without an http.Client it uses one that waits 60 s, since keys take
// their time.
func NewClient(base, token string, c *http.Client) *Client {
	if c == nil {
		c = &http.Client{Timeout: time.Minute}
	}
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: c}
}

// Error is a refusal.
type Error struct {
	Status  int
	Detail  string
	TraceID string
	Fields  []FieldError
}

// FieldError is one wrong field, such as settings.zone, and the rule that it breaks.
type FieldError struct{ Field, Message string }

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s: %s", e.Status, http.StatusText(e.Status), e.Detail)
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Field, f.Message)
	}
	fmt.Fprintf(&b, " (trace %s)", e.TraceID)
	return b.String()
}

// Apps and the methods after it are the calls of the API.
func (c *Client) Apps(ctx context.Context, f AppsFilter) (List[App], error) {
	return fetch[List[App]](ctx, c, "/apps"+query(f))
}

func (c *Client) App(ctx context.Context, appID string) (App, error) {
	return fetch[App](ctx, c, path("/apps/", appID))
}

func (c *Client) AddApp(ctx context.Context, n NewApp) (AppAdded, error) {
	return send[AppAdded](ctx, c, http.MethodPost, "/apps", n)
}

func (c *Client) SetSettings(ctx context.Context, appID string, n NewSettings) (App, error) {
	return send[App](ctx, c, http.MethodPut, path("/apps/", appID, "/settings"), n)
}

func (c *Client) DisableApp(ctx context.Context, appID string, a Act) (App, error) {
	return send[App](ctx, c, http.MethodPost, path("/apps/", appID, "/disable"), a)
}

func (c *Client) EnableApp(ctx context.Context, appID string, a Act) (App, error) {
	return send[App](ctx, c, http.MethodPost, path("/apps/", appID, "/enable"), a)
}

func (c *Client) Keys(ctx context.Context, appID string) (List[Key], error) {
	return fetch[List[Key]](ctx, c, path("/apps/", appID, "/keys"))
}

func (c *Client) AddKey(ctx context.Context, appID string, n NewKey) (KeyAdded, error) {
	return send[KeyAdded](ctx, c, http.MethodPost, path("/apps/", appID, "/keys"), n)
}

func (c *Client) MakeKeyPrimary(ctx context.Context, appID string, id ID, a Act) (Key, error) {
	return send[Key](ctx, c, http.MethodPost, path("/apps/", appID, "/keys/", string(id), "/primary"), a)
}

func (c *Client) RetireKey(ctx context.Context, appID string, id ID, a Act) (Key, error) {
	return send[Key](ctx, c, http.MethodPost, path("/apps/", appID, "/keys/", string(id), "/retire"), a)
}

func (c *Client) Deposits(ctx context.Context, f DepositsFilter) (List[Deposit], error) {
	return fetch[List[Deposit]](ctx, c, "/deposits"+query(f))
}

func (c *Client) Deposit(ctx context.Context, id ID) (Deposit, error) {
	return fetch[Deposit](ctx, c, path("/deposits/", string(id)))
}

func (c *Client) AddDeposit(ctx context.Context, n NewDeposit) (Deposit, error) {
	return send[Deposit](ctx, c, http.MethodPost, "/deposits", n)
}

func (c *Client) ReverseDeposit(ctx context.Context, id ID, a Act) (Deposit, error) {
	return send[Deposit](ctx, c, http.MethodPost, path("/deposits/", string(id), "/reverse"), a)
}

func (c *Client) Sellers(ctx context.Context, f SellersFilter) (List[Seller], error) {
	return fetch[List[Seller]](ctx, c, "/sellers"+query(f))
}

func (c *Client) FreezeSeller(ctx context.Context, appID string, a SellerAct) (Seller, error) {
	return send[Seller](ctx, c, http.MethodPost, path("/apps/", appID, "/sellers/freeze"), a)
}

func (c *Client) ResumeSeller(ctx context.Context, appID string, a SellerAct) (Seller, error) {
	return send[Seller](ctx, c, http.MethodPost, path("/apps/", appID, "/sellers/resume"), a)
}

func (c *Client) Bindings(ctx context.Context, f BindingsFilter) (List[Binding], error) {
	return fetch[List[Binding]](ctx, c, "/bindings"+query(f))
}

func (c *Client) Binding(ctx context.Context, id ID) (BindingDetail, error) {
	return fetch[BindingDetail](ctx, c, path("/bindings/", string(id)))
}

func (c *Client) ApproveBinding(ctx context.Context, id ID, a Act) (Binding, error) {
	return send[Binding](ctx, c, http.MethodPost, path("/bindings/", string(id), "/approve"), a)
}

func (c *Client) RejectBinding(ctx context.Context, id ID, a Act) (Binding, error) {
	return send[Binding](ctx, c, http.MethodPost, path("/bindings/", string(id), "/reject"), a)
}

func (c *Client) RevokeBinding(ctx context.Context, id ID, a Act) (Binding, error) {
	return send[Binding](ctx, c, http.MethodPost, path("/bindings/", string(id), "/revoke"), a)
}

func (c *Client) Files(ctx context.Context, f FilesFilter) (List[File], error) {
	return fetch[List[File]](ctx, c, "/files"+query(f))
}

func (c *Client) File(ctx context.Context, id ID) (FileDetail, error) {
	return fetch[FileDetail](ctx, c, path("/files/", string(id)))
}

// FileErrors opens the error file of one attempt; the caller closes it.
func (c *Client) FileErrors(ctx context.Context, id ID) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, path("/files/", string(id), "/errors"), nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (c *Client) EraseFile(ctx context.Context, id ID, a Act) (File, error) {
	return send[File](ctx, c, http.MethodPost, path("/files/", string(id), "/erase"), a)
}

func (c *Client) RedactFile(ctx context.Context, id ID, r Redact) (File, error) {
	return send[File](ctx, c, http.MethodPost, path("/files/", string(id), "/redact"), r)
}

func (c *Client) ContentKeys(ctx context.Context) (List[ContentKey], error) {
	return fetch[List[ContentKey]](ctx, c, "/files/keys")
}

func (c *Client) EncryptFiles(ctx context.Context, a Act) (Encryption, error) {
	return send[Encryption](ctx, c, http.MethodPost, "/files/encrypt", a)
}

func (c *Client) Shares(ctx context.Context, f SharesFilter) (List[Share], error) {
	return fetch[List[Share]](ctx, c, "/shares"+query(f))
}

func (c *Client) Share(ctx context.Context, id ID) (Share, error) {
	return fetch[Share](ctx, c, path("/shares/", string(id)))
}

func (c *Client) Deliveries(ctx context.Context, f DeliveriesFilter) (List[Delivery], error) {
	return fetch[List[Delivery]](ctx, c, "/deliveries"+query(f))
}

func (c *Client) Delivery(ctx context.Context, id ID) (DeliveryDetail, error) {
	return fetch[DeliveryDetail](ctx, c, path("/deliveries/", string(id)))
}

func (c *Client) ReplayDelivery(ctx context.Context, id ID, a Act) (Delivery, error) {
	return send[Delivery](ctx, c, http.MethodPost, path("/deliveries/", string(id), "/replay"), a)
}

func (c *Client) Accounts(ctx context.Context, f AccountsFilter) (List[Account], error) {
	return fetch[List[Account]](ctx, c, "/ledger/accounts"+query(f))
}

func (c *Client) PostingsOfAccount(ctx context.Context, id ID, f PostingsFilter) (List[Posting], error) {
	return fetch[List[Posting]](ctx, c, path("/ledger/accounts/", string(id), "/postings")+query(f))
}

func (c *Client) Postings(ctx context.Context, f PostingsFilter) (List[Posting], error) {
	return fetch[List[Posting]](ctx, c, "/ledger/postings"+query(f))
}

func (c *Client) Verify(ctx context.Context) (Verification, error) {
	return fetch[Verification](ctx, c, "/ledger/verify")
}

func (c *Client) TraceRow(ctx context.Context, t TraceRow) (TracedRow, error) {
	return fetch[TracedRow](ctx, c, "/trace/row"+query(t))
}

func (c *Client) TraceItem(ctx context.Context, t TraceItem) (TracedItem, error) {
	return fetch[TracedItem](ctx, c, "/trace/item"+query(t))
}

func (c *Client) TraceSeller(ctx context.Context, t TraceSeller) (TracedSeller, error) {
	return fetch[TracedSeller](ctx, c, "/trace/seller"+query(t))
}

func (c *Client) TraceShare(ctx context.Context, t TraceShare) (TracedShare, error) {
	return fetch[TracedShare](ctx, c, "/trace/share"+query(t))
}

func (c *Client) Audits(ctx context.Context, f AuditsFilter) (List[Audit], error) {
	return fetch[List[Audit]](ctx, c, "/audit"+query(f))
}

func (c *Client) Calls(ctx context.Context, f CallsFilter) (List[Call], error) {
	return fetch[List[Call]](ctx, c, "/calls"+query(f))
}

func (c *Client) Clock(ctx context.Context) (ClockTime, error) {
	return fetch[ClockTime](ctx, c, "/sandbox/clock")
}

func (c *Client) AdvanceClock(ctx context.Context, d time.Duration) (ClockTime, error) {
	return send[ClockTime](ctx, c, http.MethodPost, "/sandbox/clock", ClockAdvance{Advance: d.String()})
}

func (c *Client) ResetSandbox(ctx context.Context) (ClockTime, error) {
	return send[ClockTime](ctx, c, http.MethodPost, "/sandbox/reset", nil)
}

// Faults, AddFault and ClearFaults answer with the faults that are still to come.
func (c *Client) Faults(ctx context.Context) (List[Fault], error) {
	return fetch[List[Fault]](ctx, c, "/sandbox/faults")
}

func (c *Client) AddFault(ctx context.Context, f Fault) (List[Fault], error) {
	return send[List[Fault]](ctx, c, http.MethodPost, "/sandbox/faults", f)
}

func (c *Client) ClearFaults(ctx context.Context) (List[Fault], error) {
	return send[List[Fault]](ctx, c, http.MethodDelete, "/sandbox/faults", nil)
}

func fetch[A any](ctx context.Context, c *Client, path string) (A, error) {
	return send[A](ctx, c, http.MethodGet, path, nil)
}

func send[A any](ctx context.Context, c *Client, method, path string, body any) (answer A, err error) {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return answer, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return answer, nil
}

func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

func refusal(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, TraceID: resp.Header.Get(infinia.TraceHeader)}
	var problem huma.ErrorModel
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || json.Unmarshal(text, &problem) != nil {
		e.Detail = "the answer is not one of this API"
		return e
	}
	e.Detail = problem.Detail
	for _, d := range problem.Errors {
		_, field, found := strings.Cut(d.Location, ".") // after body, path or query
		if !found {
			field = d.Location
		}
		e.Fields = append(e.Fields, FieldError{Field: field, Message: d.Message})
	}
	return e
}

// path joins fixed parts and, between them, values.
func path(parts ...string) string {
	for i := 1; i < len(parts); i += 2 {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "")
}

// query writes a filter as the server reads it; what is zero is left out.
func query(filter any) string {
	values := url.Values{}
	collect(values, reflect.ValueOf(filter))
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

func collect(values url.Values, v reflect.Value) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous {
			collect(values, v.Field(i))
		} else if !v.Field(i).IsZero() {
			values.Set(f.Tag.Get("query"), fmt.Sprint(v.Field(i)))
		}
	}
}
