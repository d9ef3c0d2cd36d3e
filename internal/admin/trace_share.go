package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// TraceShare says which share is asked for.
type TraceShare struct {
	AppID     string `query:"appId" required:"true" minLength:"1"`
	RequestNo string `query:"requestNo" required:"true" minLength:"1" doc:"of the Revenue Sharing call"`
}

// TracedShare is a share, or its refusal, and what stood in the seller's books when it was accepted.
type TracedShare struct {
	Share   *Share        `json:"share,omitempty"`
	Refused *RefusedShare `json:"refused,omitempty" doc:"there is no share: the request was refused"`
	Why     string        `json:"why"`

	Binding  *Binding  `json:"binding,omitempty" doc:"under which the share was accepted"`
	Postings []Posting `json:"postings" doc:"what settled it, in money and in evidence; none before that, and none when it was released"`
	Beyond   bool      `json:"beyond" doc:"an account has had so many postings since that postings or files are not found any more; what the seller had filed is empty where it is not known"`

	FiledShipped   string `json:"filedShipped,omitempty" doc:"what the seller had filed as Shipped when the share was accepted, with returns taken off"`
	FiledUnshipped string `json:"filedUnshipped,omitempty"`

	Files     []DrawnFile `json:"files" doc:"which had changed what the seller had filed until then, the newest first. The books hold totals: the share was drawn from all of them together"`
	MoreFiles int         `json:"moreFiles" doc:"that were found besides"`
}

// RefusedShare is a request that made no share. What it asked for is not kept.
type RefusedShare struct {
	RequestNo string    `json:"requestNo"`
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	At        time.Time `json:"at"`

	Fields []infinia.FieldError `json:"fields"`
}

// DrawnFile is a file and by how much it changed what a seller has filed.
type DrawnFile struct {
	FileID    ID        `json:"fileId"`
	RequestNo string    `json:"requestNo"`
	Attempt   int64     `json:"attempt"`
	Shipped   string    `json:"shipped"`
	Unshipped string    `json:"unshipped"`
	BookedAt  time.Time `json:"bookedAt"`
}

// traceShare walks over the newest postings of an account, so many as far says.
func traceShare(ctx context.Context, q *pgdb.Queries, in TraceShare, far int64) (t TracedShare, err error) {
	if _, err := appNamed(ctx, q, in.AppID); err != nil {
		return t, err
	}
	req, err := q.GetRequest(ctx, pgdb.GetRequestParams{AppID: in.AppID, Operation: string(infinia.OpRevenueSharing), RequestNo: in.RequestNo})
	if store.NotFound(err) {
		return t, absent("requestNo", "is of no Revenue Sharing call that this app has made")
	}
	if err != nil {
		return t, err
	}
	t = TracedShare{Postings: []Posting{}, Files: []DrawnFile{}}
	if req.Code != "" {
		t.Refused = &RefusedShare{RequestNo: req.RequestNo, Code: req.Code, Message: infinia.Code(req.Code).Message(), At: at(req.At)}
		t.Why = "it was refused, and nothing was moved or held; a refusal is final, and the app tries again under a new requestNo"
		return t, json.Unmarshal([]byte(req.Fields), &t.Refused.Fields)
	}
	share, err := q.GetShare(ctx, req.RecordID)
	if err != nil {
		return t, err
	}
	b, err := q.GetBinding(ctx, share.BindingID)
	if err != nil {
		return t, err
	}
	t.Share, t.Binding = new(showShare(share)), new(showBinding(b))
	t.Why = fmt.Sprintf("when it was accepted, the trades allowed %s (cap %s), of which it and the shares before it took %s",
		decimal(share.Allowed, share.Currency), percent(share.Cap), decimal(share.Committed, share.Currency))
	rows, err := q.ListAccountsOf(ctx, pgdb.ListAccountsOfParams{AppID: share.AppID, SellerID: share.SellerID, Currency: share.Currency})
	if err != nil {
		return t, err
	}
	accounts := map[string]pgdb.Account{}
	for _, a := range rows {
		accounts[a.Kind] = a
	}
	for _, kind := range []string{ledger.Seller, ledger.Used} {
		found, beyond, err := search(ctx, q, accounts[kind], share.AcceptedAt, math.MaxInt64, share.ID, far)
		if err != nil {
			return t, err
		}
		t.Beyond = t.Beyond || beyond && len(found) == 0 && share.State == op.ShareSettled
		for _, r := range found {
			t.Postings = append(t.Postings, showPosting(pgdb.PagePostingsWithAccountsRow(r)))
		}
	}
	if err := t.draw(ctx, q, share, accounts[ledger.FiledShipped], accounts[ledger.FiledUnshipped], far); err != nil {
		return t, err
	}
	if t.Beyond {
		t.Why += fmt.Sprintf("; an account has more than %d postings, and what was posted before is not searched: use infinia ledger postings", far)
	}
	return t, nil
}

// search finds an account's postings from one time to another, the newest first, of one record or (0) of all. beyond says
// that the account has more than far postings, of which it has looked at the newest.
func search(ctx context.Context, q *pgdb.Queries, a pgdb.Account, since, until, recordID, far int64) (found []pgdb.SearchPostingsOfAccountRow, beyond bool, err error) {
	found, err = q.SearchPostingsOfAccount(ctx, pgdb.SearchPostingsOfAccountParams{AccountID: a.ID, FirstID: a.LastPostingID, Since: since, Until: until, RecordID: recordID, Far: int32(far)})
	return found, a.LastNo > far, err
}

// draw lists the files that the seller's books of filed trades had been made from when the share was accepted.
func (t *TracedShare) draw(ctx context.Context, q *pgdb.Queries, share pgdb.Share, shipped, unshipped pgdb.Account, far int64) error {
	type drawn struct {
		at     int64
		change [2]int64 // of shipped and unshipped
	}
	files, filed, unknown := map[int64]*drawn{}, [2]int64{}, [2]bool{}
	for i, a := range []pgdb.Account{shipped, unshipped} {
		found, beyond, err := search(ctx, q, a, 0, share.AcceptedAt, 0, far)
		if err != nil {
			return err
		}
		if beyond && len(found) == 0 {
			t.Beyond, unknown[i] = true, true
		}
		for n, r := range found {
			change, balance := r.Amount, r.ToBalance
			if r.FromID == a.ID {
				change, balance = -r.Amount, r.FromBalance
			}
			if n == 0 {
				filed[i] = balance
			}
			if files[r.RecordID] == nil {
				files[r.RecordID] = &drawn{at: r.At}
			}
			files[r.RecordID].change[i] += change
		}
	}
	text := func(minor int64) string { return decimal(minor, share.Currency) }
	for i, told := range []*string{&t.FiledShipped, &t.FiledUnshipped} {
		if !unknown[i] {
			*told = text(filed[i])
		}
	}
	newest := slices.SortedFunc(maps.Keys(files), func(a, b int64) int {
		return cmp.Or(cmp.Compare(files[b].at, files[a].at), cmp.Compare(b, a))
	})
	t.MoreFiles = max(len(newest)-tracedFiles, 0)
	for _, id := range newest[:len(newest)-t.MoreFiles] {
		f, err := q.GetTradeFile(ctx, id)
		if err != nil {
			return err
		}
		t.Files = append(t.Files, DrawnFile{FileID: idOf(id), RequestNo: f.RequestNo, Attempt: f.Attempt, Shipped: text(files[id].change[0]),
			Unshipped: text(files[id].change[1]), BookedAt: at(files[id].at)})
	}
	return nil
}
