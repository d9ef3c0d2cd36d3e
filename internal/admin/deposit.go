package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/money"
)

// Deposit is money that an app's owner has paid in.
type Deposit struct {
	ID            ID        `json:"id"`
	AppID         string    `json:"appId"`
	Currency      string    `json:"currency"`
	Amount        string    `json:"amount"`
	BankReference string    `json:"bankReference"`
	ValueDate     string    `json:"valueDate"`
	Payer         string    `json:"payer"`
	BookedAt      time.Time `json:"bookedAt"`
	ReversedAt    time.Time `json:"reversedAt,omitzero"`
}

// NewDeposit books money that has arrived at the bank.
type NewDeposit struct {
	Act
	AppID         string `json:"appId" maxLength:"64"`
	Currency      string `json:"currency" minLength:"1"`
	Amount        string `json:"amount" minLength:"1" doc:"decimal text such as 100.00, above zero"`
	BankReference string `json:"bankReference" maxLength:"128" pattern:"^[^\\s\\x00]([^\\x00]*[^\\s\\x00])?$" patternDescription:"text without white space around it" doc:"the bank's own number; one deposit has it in a currency"`
	ValueDate     string `json:"valueDate" format:"date" doc:"yyyy-mm-dd"`
	Payer         string `json:"payer" maxLength:"256" pattern:"^[^\\x00]*\\S[^\\x00]*$" patternDescription:"text"`
}

// DepositsFilter says which deposits are wanted.
type DepositsFilter struct {
	Page
	AppID    string `query:"appId"`
	Currency string `query:"currency"`
}

func deposits(s *server) {
	list(s, "/deposits", "list-deposits", "Deposits",
		func(ctx context.Context, q *pgdb.Queries, f DepositsFilter, before int64, most int32) ([]pgdb.Deposit, error) {
			return q.PageDeposits(ctx, pgdb.PageDepositsParams{Before: before, AppID: f.AppID, Currency: f.Currency, Most: most})
		}, shown(showDeposit), func(d Deposit) ID { return d.ID })
	get(s, "/deposits/{id}", "get-deposit", "One deposit", func(ctx context.Context, q *pgdb.Queries, id int64) (Deposit, error) {
		row, err := q.GetDeposit(ctx, id)
		return showDeposit(row), err
	})
	handle(s, http.MethodPost, "/deposits", "add-deposit", "Book a deposit", s.addDeposit)
	handle(s, http.MethodPost, "/deposits/{id}/reverse", "reverse-deposit", "Take a wrong deposit back, whole and once", s.reverseDeposit)
}

// Resolve checks what the schema cannot.
func (n *NewDeposit) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	f := &faults{at: at.String()}
	switch {
	case n.Currency == "": // the schema says so
	case !money.Known(n.Currency):
		f.add("currency", unknownCurrency)
	case n.Amount != "":
		if fault := amountFault(n.Amount, n.Currency); fault != "" {
			f.add("amount", fault)
		}
	}
	return f.errs
}

func (s *server) addDeposit(ctx context.Context, in *body[NewDeposit]) (Deposit, error) {
	b := &in.Body
	amount, err := money.Parse(b.Amount, money.Currency(b.Currency))
	if err != nil {
		return Deposit{}, err
	}
	b.Amount = amount.String() // 100 and 100.00 are the same content
	from, to := ledger.ExternalAccount(b.AppID, b.Currency), ledger.PlatformAccount(b.AppID, b.Currency)
	key := store.DepositKey{Currency: b.Currency, BankReference: b.BankReference}
	return once(ctx, s, act[Deposit]{Act: b.Act, name: "deposit.add", appID: b.AppID, content: in,
		keys: store.Keys{Apps: []string{b.AppID}, Accounts: []store.AccountKey{from, to}, Deposits: []store.DepositKey{key}},
		judge: func(v *store.View) (c change[Deposit], err error) {
			if _, err := appOf(v, b.AppID); err != nil {
				return c, err
			}
			if d, ok := v.Deposits.Get(key); ok {
				return c, conflict("bankReference", fmt.Sprintf("is that of deposit %d", d.ID))
			}
			d := pgdb.Deposit{ID: v.NextID(), AppID: b.AppID, Currency: b.Currency, Amount: amount.Minor, BankReference: b.BankReference,
				ValueDate: b.ValueDate, Payer: b.Payer, BookedAt: v.Now()}
			v.Deposits.Put(key, d)
			after := showDeposit(d)
			return change[Deposit]{subject: depositSubject(d), after: after}, ledger.Post(v, ledger.ForDeposit, d.ID, from, to, d.Amount)
		}})
}

func (s *server) reverseDeposit(ctx context.Context, in *onID[Act]) (Deposit, error) {
	d, err := read(ctx, s, func(q *pgdb.Queries) (pgdb.Deposit, error) { return q.GetDeposit(ctx, in.ID.number()) })
	if err != nil {
		return Deposit{}, err
	}
	from, to := ledger.PlatformAccount(d.AppID, d.Currency), ledger.ExternalAccount(d.AppID, d.Currency)
	key := store.DepositKey{Currency: d.Currency, BankReference: d.BankReference}
	return once(ctx, s, act[Deposit]{Act: in.Body, name: "deposit.reverse", appID: d.AppID, content: in,
		keys: store.Keys{Accounts: []store.AccountKey{from, to}, Deposits: []store.DepositKey{key}},
		judge: func(v *store.View) (c change[Deposit], err error) {
			d, ok := v.Deposits.Get(key)
			if !ok {
				return c, fmt.Errorf("deposit %s is gone", in.ID)
			}
			if d.ReversedAt > 0 {
				return c, fmt.Errorf("the deposit is reversed already: %w", op.ErrState)
			}
			before := showDeposit(d)
			d.ReversedAt = v.Now()
			v.Deposits.Put(key, d)
			err = ledger.Post(v, ledger.ForReversal, d.ID, from, to, d.Amount)
			if errors.Is(err, ledger.ErrShort) {
				err = huma.Error409Conflict("the deposit is shared or held already: the platform has less than its amount available")
			}
			return change[Deposit]{subject: depositSubject(d), before: before, after: showDeposit(d)}, err
		}})
}

func depositSubject(d pgdb.Deposit) string { return fmt.Sprintf("deposit %d", d.ID) }

func showDeposit(r pgdb.Deposit) Deposit {
	return Deposit{ID: idOf(r.ID), AppID: r.AppID, Currency: r.Currency, Amount: decimal(r.Amount, r.Currency), BankReference: r.BankReference,
		ValueDate: r.ValueDate, Payer: r.Payer, BookedAt: at(r.BookedAt), ReversedAt: at(r.ReversedAt)}
}
