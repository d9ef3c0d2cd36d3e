package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Account is one account of the books.
type Account struct {
	ID        ID        `json:"id"`
	AppID     string    `json:"appId"`
	Kind      string    `json:"kind"`
	SellerID  string    `json:"sellerId,omitempty"`
	Currency  string    `json:"currency"`
	Balance   string    `json:"balance"`
	Held      string    `json:"held"`
	Available string    `json:"available"`
	LastNo    int64     `json:"lastNo" doc:"how many postings it has"`
	LastAt    time.Time `json:"lastAt,omitzero"`
}

// Posting moves an amount from one account to another.
type Posting struct {
	ID       ID        `json:"id"`
	Purpose  string    `json:"purpose" enum:"deposit,deposit-reversal,share,trade"`
	RecordID ID        `json:"recordId" doc:"the deposit, share or file that it is for"`
	AppID    string    `json:"appId"`
	Currency string    `json:"currency"`
	Amount   string    `json:"amount"`
	From     Side      `json:"from"`
	To       Side      `json:"to"`
	At       time.Time `json:"at"`
}

// Side is one account's part of a posting. Each account numbers its postings 1, 2, 3.
type Side struct {
	AccountID ID     `json:"accountId"`
	Kind      string `json:"kind"`
	SellerID  string `json:"sellerId,omitempty"`
	No        int64  `json:"no"`
	Balance   string `json:"balance" doc:"of the account afterwards"`
}

// Verification is what an independent check of all books found.
type Verification struct {
	Sound    bool     `json:"sound"`
	Faults   []string `json:"faults"`
	Accounts int64    `json:"accounts"`
	Postings int64    `json:"postings"`
	Shares   int64    `json:"shares"`
	Requests int64    `json:"requests"`
	Rows     int64    `json:"rows"`
}

// AccountsFilter says which accounts are wanted.
type AccountsFilter struct {
	Page
	AppID    string `query:"appId"`
	Kind     string `query:"kind" enum:"external,platform,seller,fees,evidence,filed-shipped,filed-unshipped,used"`
	SellerID string `query:"sellerId"`
	Currency string `query:"currency"`
}

// PostingsFilter says which postings are wanted.
type PostingsFilter struct{ Page }

type postingsOfAccount struct {
	Page
	ID ID `path:"id"`
}

func books(s *server) {
	list(s, "/ledger/accounts", "list-accounts", "Accounts",
		func(ctx context.Context, q *pgdb.Queries, f AccountsFilter, before int64, most int32) ([]pgdb.Account, error) {
			return q.PageAccounts(ctx, pgdb.PageAccountsParams{Before: before, AppID: f.AppID, Kind: f.Kind, SellerID: f.SellerID, Currency: f.Currency, Most: most})
		}, shown(showAccount), func(a Account) ID { return a.ID })
	list(s, "/ledger/postings", "list-postings", "Postings",
		func(ctx context.Context, q *pgdb.Queries, _ PostingsFilter, before int64, most int32) ([]pgdb.PagePostingsWithAccountsRow, error) {
			return q.PagePostingsWithAccounts(ctx, pgdb.PagePostingsWithAccountsParams{Before: before, Most: most})
		}, shown(showPosting), func(p Posting) ID { return p.ID })
	handle(s, http.MethodGet, "/ledger/accounts/{id}/postings", "list-postings-of-account", "Postings of one account",
		func(ctx context.Context, in *postingsOfAccount) (List[Posting], error) {
			return read(ctx, s, func(q *pgdb.Queries) (List[Posting], error) { return postingsOf(ctx, q, *in) })
		})
	handle(s, http.MethodGet, "/ledger/verify", "verify-books", "Check all books", func(ctx context.Context, _ *struct{}) (Verification, error) {
		r, err := read(ctx, s, func(q *pgdb.Queries) (ledger.Report, error) { return ledger.Verify(ctx, q) })
		return Verification{Sound: len(r.Faults) == 0, Faults: append([]string{}, r.Faults...), Accounts: r.Accounts, Postings: r.Postings,
			Shares: r.Shares, Requests: r.Requests, Rows: r.Rows}, err
	})
}

func postingsOf(ctx context.Context, q *pgdb.Queries, in postingsOfAccount) (l List[Posting], err error) {
	a, err := q.GetAccountByID(ctx, in.ID.number())
	if err != nil {
		return l, err
	}
	first := a.LastPostingID
	if before := in.Before.number(); before != 0 {
		if first, err = q.GetPostingBefore(ctx, pgdb.GetPostingBeforeParams{AccountID: a.ID, ID: before}); err != nil {
			return l, err
		}
	}
	_, most := in.page()
	rows, err := q.ListPostingsOfAccount(ctx, pgdb.ListPostingsOfAccountParams{AccountID: a.ID, FirstID: first, Most: most + 1})
	if err != nil {
		return l, err
	}
	l.Items = make([]Posting, 0, len(rows))
	for _, r := range rows {
		if len(l.Items) == int(most) {
			l.Next = l.Items[most-1].ID
			break
		}
		l.Items = append(l.Items, showPosting(pgdb.PagePostingsWithAccountsRow(r)))
	}
	return l, nil
}

func showAccount(r pgdb.Account) Account {
	return Account{ID: idOf(r.ID), AppID: r.AppID, Kind: r.Kind, SellerID: r.SellerID, Currency: r.Currency, Balance: decimal(r.Balance, r.Currency),
		Held: decimal(r.Held, r.Currency), Available: decimal(ledger.Available(r), r.Currency), LastNo: r.LastNo, LastAt: at(r.LastAt)}
}

func showPosting(r pgdb.PagePostingsWithAccountsRow) Posting {
	return Posting{ID: idOf(r.ID), Purpose: r.Purpose, RecordID: idOf(r.RecordID), AppID: r.AppID, Currency: r.Currency, Amount: decimal(r.Amount, r.Currency),
		From: Side{AccountID: idOf(r.FromID), Kind: r.FromKind, SellerID: r.FromSellerID, No: r.FromNo, Balance: decimal(r.FromBalance, r.Currency)},
		To:   Side{AccountID: idOf(r.ToID), Kind: r.ToKind, SellerID: r.ToSellerID, No: r.ToNo, Balance: decimal(r.ToBalance, r.Currency)},
		At:   at(r.At)}
}
