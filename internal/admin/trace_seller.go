package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
	"github.com/openinfinia/infinia/money"
)

// TraceSeller says whose available share is asked for.
type TraceSeller struct {
	AppID    string `query:"appId" required:"true" minLength:"1"`
	SellerID string `query:"sellerId" required:"true" minLength:"1"`
	Currency string `query:"currency" required:"true" minLength:"1"`
}

// TracedSeller is why a seller's available share is what it is, and what else a share would be refused for now.
type TracedSeller struct {
	AppID string `json:"appId"`
	Availability
	MostNow string   `json:"mostNow" doc:"the largest share that would be accepted now, by everything that a share is judged by"`
	Why     []string `json:"why" doc:"in short sentences: what stops a share, in the order of judging, and which files tell of no trade"`
	Stops   []Stop   `json:"stops" doc:"what a share of the least amount would be refused for, in the order of judging"`

	SellerStatus string        `json:"sellerStatus,omitempty" enum:"ACTIVE,FROZEN" doc:"absent when no binding was ever asked for"`
	Binding      *Binding      `json:"binding,omitempty" doc:"the successful one in this currency, or else the newest"`
	Platform     PlatformMoney `json:"platform"`
	Limits       []TracedLimit `json:"limits" doc:"those that are set for this currency"`

	Files      []FileOfSeller `json:"files" doc:"the newest first: those with rows of the seller in this currency, and those of which nobody can tell, among the newest 100 accepted files of the app and the newest 100 others"`
	MoreFiles  int            `json:"moreFiles" doc:"how many more of those there are"`
	Shares     []Share        `json:"shares" doc:"the newest that are held or settled"`
	MoreShares bool           `json:"moreShares"`
}

// Availability is a seller's available share, and how it is made.
type Availability struct {
	SellerID  string `json:"sellerId"`
	Currency  string `json:"currency"`
	Available string `json:"available"`
	Steps     []Step `json:"steps"`
}

// Step is one amount of the arithmetic.
type Step struct {
	Name   string `json:"name" enum:"filedShipped,filedUnshipped,trade,allowed,shared,processing,available,overShared"`
	Amount string `json:"amount"`
	Text   string `json:"text"`
}

// Stop is a refusal, as the app would get it.
type Stop struct {
	Code    infinia.Code `json:"code"`
	Field   string       `json:"field"`
	Message string       `json:"message"`
}

// PlatformMoney is what the app may share from.
type PlatformMoney struct {
	Available string `json:"available"`
	Held      string `json:"held"`
}

// TracedLimit is one of the operator's limits.
type TracedLimit struct {
	Name     string `json:"name" enum:"limitPerShare,limitPerSellerDay,limitPerDay"`
	Limit    string `json:"limit"`
	Accepted string `json:"accepted" doc:"of the present day, held or settled"`
	Left     string `json:"left"`
}

// FileOfSeller is a trade file with its part of one seller in one currency.
type FileOfSeller struct {
	File
	RowsOfSeller     int64          `json:"rowsOfSeller" doc:"0: nobody can tell, because the file is still being judged or could not be read"`
	AcceptedOfSeller int64          `json:"acceptedOfSeller"`
	Broken           []trade.Broken `json:"broken" doc:"what is wrong with the file by rule, its other sellers' rows included"`
}

func (s *server) now() int64 { return store.Millis(s.db.Clock.Now()) }

func (s *server) traceSeller(ctx context.Context, q *pgdb.Queries, in TraceSeller) (t TracedSeller, err error) {
	app, err := appNamed(ctx, q, in.AppID)
	if err != nil {
		return t, err
	}
	if !money.Known(in.Currency) {
		return t, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "query.currency", Message: "is not a currency known here"})
	}
	look, err := op.OutlookOf(ctx, q, app, in.SellerID, in.Currency, s.now())
	if err != nil {
		return t, err
	}
	text := func(minor int64) string { return decimal(minor, in.Currency) }
	t = TracedSeller{AppID: app.AppID, Availability: availability(look, in.SellerID, in.Currency), MostNow: text(look.Most), Stops: []Stop{},
		SellerStatus: look.Seller.Status, Platform: PlatformMoney{text(ledger.Available(look.Platform)), text(look.Platform.Held)}, Limits: []TracedLimit{}, Files: []FileOfSeller{}}
	for _, e := range look.Stops {
		t.Stops = append(t.Stops, Stop{e.Code, e.Fields[0].Field, e.Fields[0].Message})
	}
	if look.Binding.ID != 0 {
		t.Binding = new(showBinding(look.Binding))
	}
	for _, l := range look.Limits {
		t.Limits = append(t.Limits, TracedLimit{l.Name, text(l.Most), text(l.Accepted), text(max(l.Left(), 0))})
	}
	rows, err := q.ListFilesOfSeller(ctx, pgdb.ListFilesOfSellerParams{AppID: app.AppID, SellerID: in.SellerID, Currency: in.Currency, Most: newestFiles})
	if err != nil {
		return t, err
	}
	for _, r := range rows {
		f := FileOfSeller{File: showFile(r.TradeFile), RowsOfSeller: r.RowsOfSeller, AcceptedOfSeller: r.AcceptedOfSeller}
		if f.Broken, err = trade.BrokenOf(r.TradeFile); err != nil {
			return t, err
		}
		t.Files = append(t.Files, f)
	}
	if t.Shares, t.MoreShares, err = sharesSince(ctx, q, look.Used, 0); err != nil {
		return t, err
	}
	accounts, err := q.ListAccountsOf(ctx, pgdb.ListAccountsOfParams{AppID: app.AppID, SellerID: in.SellerID, Currency: in.Currency})
	if err != nil {
		return t, err
	}
	filed := slices.ContainsFunc(accounts, func(a pgdb.Account) bool { return a.Kind == ledger.Evidence }) ||
		slices.ContainsFunc(t.Files, func(f FileOfSeller) bool { return f.AcceptedOfSeller > 0 }) // sale and return in one file post nothing
	t.Why = append(whyStopped(look, in.Currency, filed), whyNotFiled(t.Files, look.May.Available == 0)...)
	if n := len(t.Files); n > tracedFiles {
		t.Files, t.MoreFiles = t.Files[:tracedFiles], n-tracedFiles
	}
	return t, nil
}

// availability tells the arithmetic of trade.Entitled, which has done it.
func availability(look op.Outlook, sellerID, currency string) Availability {
	text := func(minor int64) string { return decimal(minor, currency) }
	unshipped := "it counts"
	if look.Settings.IgnoreUnshipped {
		unshipped = "it does not count, by the app's setting ignoreUnshipped"
	}
	may := look.May
	a := Availability{SellerID: sellerID, Currency: currency, Available: text(may.Available), Steps: []Step{
		{"filedShipped", text(may.Shipped), "filed as Shipped, with returns of the same items taken off"},
		{"filedUnshipped", text(may.Unshipped), "filed as Not Shipped, with the other returns taken off; " + unshipped},
		{"trade", text(may.Trade), "the trades that count"},
		{"allowed", text(may.Allowed), "the cap: " + percent(look.Settings.Cap()) + " of them, rounded down"},
		{"shared", text(may.Shared), "settled shares"},
		{"processing", text(may.Processing), "held for shares in process"},
		{"available", text(may.Available), "allowed, less shared and processing; never below zero"},
	}}
	if may.Over > 0 {
		a.Steps = append(a.Steps, Step{"overShared", text(may.Over), "by so much shares exceed what is allowed; no share passes until new trades cover it"})
	}
	return a
}

func percent(basisPoints int64) string {
	return fmt.Sprintf("%d.%02d %%", basisPoints/100, basisPoints%100)
}

// whyStopped puts into words what stops a share; filed says whether a trade of the seller was ever accepted.
func whyStopped(look op.Outlook, currency string, filed bool) (why []string) {
	text := func(minor int64) string { return decimal(minor, currency) }
	reached := slices.DeleteFunc(slices.Clone(look.Limits), func(l op.Limit) bool { return l.Left() > 0 })
	for _, e := range look.Stops {
		var words string
		switch e.Code {
		case infinia.NotAuthenticated:
			words = "the app is disabled, and every call of it is refused"
		case infinia.NotAllowed:
			words = "the app's setting operations does not let it share revenue"
		case infinia.CurrencyNotUsable:
			words = "the app's setting currencies does not have " + currency
		case infinia.SellerNotBound:
			words = notBound(look.Binding, currency)
		case infinia.SellerFrozen:
			words = "the seller is frozen since " + at(look.Seller.ChangedAt).UTC().Format(time.RFC3339)
		case infinia.OverLimit:
			l := reached[0] // there is a stop for each
			reached = reached[1:]
			words = fmt.Sprintf("%s is reached: %s of %s", l.Name, text(l.Accepted), text(l.Most))
		case infinia.OverAvailableShare:
			words = noneAvailable(look, currency, filed)
		case infinia.OverBalance:
			words = fmt.Sprintf("the platform's account in %s has nothing left: %s, of which %s is held; a deposit is missing", currency, text(look.Platform.Balance), text(look.Platform.Held))
		}
		why = append(why, words)
	}
	if len(why) == 0 {
		bound := ""
		for _, l := range look.Limits {
			if look.Most == l.Left() {
				bound = "left under " + l.Name
			}
		}
		if look.Most == ledger.Available(look.Platform) {
			bound = "left on the platform's account"
		}
		if look.Most == look.May.Available {
			bound = "the available share"
		}
		why = append(why, fmt.Sprintf("nothing stops a share of up to %s, which is %s", text(look.Most), bound))
	}
	return why
}

func notBound(b pgdb.Binding, currency string) string {
	switch b.State {
	case op.BindingAwaitingSeller:
		return fmt.Sprintf("the binding %s waits for the seller to confirm it", b.RequestNo)
	case op.BindingAwaitingReview:
		return fmt.Sprintf("the binding %s waits for an operator: infinia binding approve %d", b.RequestNo, b.ID)
	case op.BindingFailed, op.BindingRevoked:
		return fmt.Sprintf("the newest binding in %s, %s, is %s: %s", currency, b.RequestNo, b.State, b.FailReason)
	}
	return "nobody has asked to bind a seller of this sellerId in " + currency + "; letter case and blanks count"
}

func noneAvailable(look op.Outlook, currency string, filed bool) string {
	may := look.May
	switch {
	case may.Over > 0:
		return fmt.Sprintf("shares exceed by %s what the trades allow: since they were accepted returns were filed, or the app's cap or ignoreUnshipped was changed", decimal(may.Over, currency))
	case may.Trade == 0 && may.Unshipped > 0:
		return "everything filed is Not Shipped, which the app's setting ignoreUnshipped does not count"
	case may.Trade == 0 && filed:
		return "everything filed was returned"
	case may.Trade == 0:
		return "no accepted trade file has a row of this seller in " + currency
	case may.Allowed == 0:
		return "the app's setting capBasisPoints leaves nothing of the trades"
	}
	return "all that is allowed is shared or in process"
}

// toldFiles bounds the sentences about files; the list has more.
const toldFiles = 3

// whyNotFiled puts into words which files tell of no trade although they were uploaded: those that failed, unless a later
// attempt came, and those in process. Of a file that could not be read nobody knows whether it names the seller.
func whyNotFiled(files []FileOfSeller, nothing bool) (why []string) {
	processing, later := 0, map[string]bool{}
	for _, f := range files {
		switch {
		case f.Status == string(infinia.FileProcessing):
			processing++
		case f.Status != string(infinia.FileFailed), later[f.RequestNo], len(why) == toldFiles:
		case f.RowsOfSeller > 0:
			why = append(why, fmt.Sprintf("file %s (id %s) FAILED, with %s of this seller: %s", f.RequestNo, f.ID, counted(f.RowsOfSeller, "row"), f.fault()))
		case nothing && f.FailReason != "":
			why = append(why, fmt.Sprintf("file %s (id %s) FAILED before its rows could be read: %s", f.RequestNo, f.ID, f.fault()))
		case nothing:
			why = append(why, fmt.Sprintf("file %s (id %s) FAILED, without a row that could be told to be this seller's: %s", f.RequestNo, f.ID, f.fault()))
		}
		later[f.RequestNo] = true
	}
	if processing > 0 {
		why = append(why, fmt.Sprintf("files that are still being judged, and may have rows of this seller: %d", processing))
	}
	return why
}

// fault is what a failed file failed for: a fault of the whole file, or the rule that most of its wrong rows break.
func (f FileOfSeller) fault() string {
	wrong := slices.DeleteFunc(slices.Clone(f.Broken), func(b trade.Broken) bool { return b.Warning })
	if f.FailReason != "" || len(wrong) == 0 {
		return f.FailReason
	}
	most, place := wrong[0], ""
	if len(most.Lines) > 0 {
		place = fmt.Sprintf(" (first: line %d)", most.Lines[0])
		if most.Count == 1 {
			place = fmt.Sprintf(" (line %d)", most.Lines[0])
		}
	}
	text := counted(int64(most.Count), "row") + place + ": " + most.Example
	switch others := counted(int64(len(wrong)-1), "other rule"); len(wrong) {
	case 1:
	case 2:
		text += "; " + others + " is broken"
	default:
		text += "; " + others + " are broken"
	}
	return text
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// sharesSince are the newest shares of the seller who owns an account of used evidence that are held or settled and were
// accepted at a time or later.
func sharesSince(ctx context.Context, q *pgdb.Queries, used pgdb.Account, since int64) (list []Share, more bool, err error) {
	var rows []pgdb.Share
	if used.Held > 0 {
		if rows, err = q.ListHeldSharesOf(ctx, pgdb.ListHeldSharesOfParams{Queue: op.SettleQueue, AppID: used.AppID, SellerID: used.SellerID,
			Currency: used.Currency, Most: tracedShares + 1}); err != nil {
			return nil, false, err
		}
	}
	settled, err := q.ListPostingsOfAccount(ctx, pgdb.ListPostingsOfAccountParams{AccountID: used.ID, FirstID: used.LastPostingID, Most: tracedShares + 1})
	if err != nil {
		return nil, false, err
	}
	for _, p := range settled {
		s, err := q.GetShare(ctx, p.RecordID)
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, s)
	}
	list = []Share{}
	slices.SortStableFunc(rows, func(a, b pgdb.Share) int { return cmp.Compare(b.AcceptedAt, a.AcceptedAt) })
	for _, s := range rows {
		switch {
		case s.AcceptedAt < since:
		case len(list) == tracedShares:
			more = true
		default:
			list = append(list, showShare(s))
		}
	}
	return list, more, nil
}
