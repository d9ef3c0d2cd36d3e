package trade

import (
	"bytes"
	"context"
	"slices"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/money"
)

// EverBound says whether a binding in the currency is or once was successful.
func EverBound(bindings []pgdb.Binding, currency string) bool {
	return slices.ContainsFunc(bindings, func(b pgdb.Binding) bool { return b.Currency == currency && b.BoundAt > 0 })
}

// booked answers the checker's questions from the database, in short snapshots, so that readers stay free for calls. What is
// booked does not change in between: an app's files are judged one at a time.
type booked struct {
	ctx context.Context
	db  *store.DB
	app pgdb.App
}

func (b booked) bound(of []Binding) (map[Binding]bool, error) {
	bound := make(map[Binding]bool, len(of))
	for len(of) > 0 {
		var s [16]string
		for i := range s {
			s[i] = of[min(i, len(of)-1)].SellerID
		}
		of = of[min(len(s), len(of)):]
		if err := b.db.ReadOne(b.ctx, func(q *pgdb.Queries) error {
			rows, err := q.ListBoundOfSellers(b.ctx, pgdb.ListBoundOfSellersParams{AppID: b.app.AppID,
				Seller1: s[0], Seller2: s[1], Seller3: s[2], Seller4: s[3], Seller5: s[4], Seller6: s[5], Seller7: s[6], Seller8: s[7],
				Seller9: s[8], Seller10: s[9], Seller11: s[10], Seller12: s[11], Seller13: s[12], Seller14: s[13], Seller15: s[14], Seller16: s[15]})
			for _, r := range rows {
				bound[Binding{r.SellerID, money.Currency(r.Currency)}] = true
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	return bound, nil
}

func (b booked) rows(first, last [16]byte, most int) (rows []Booked, more bool, err error) {
	var page []pgdb.PageBookedRowsRow
	for { // an item may have any number of rows
		if err := b.db.Read(b.ctx, func(q *pgdb.Queries) (err error) {
			page, err = q.PageBookedRows(b.ctx, pgdb.PageBookedRowsParams{App: b.app.ID, First: first[:], Last: last[:], Most: int32(most)})
			return err
		}); err != nil {
			return nil, false, err
		}
		if more = len(page) == most; !more {
			break
		}
		n := len(page)
		for n > 0 && bytes.Equal(page[n-1].ItemKey, page[most-1].ItemKey) {
			n--
		}
		if page = page[:n]; n > 0 {
			break
		}
		most *= 2
	}
	var no int64 // of the file that booked the last one of rows
	for _, r := range page {
		row := Booked{Item: [16]byte(r.ItemKey), At: r.At, Currency: money.Currency(r.Currency), Amount: r.Amount, Shipped: r.Shipped != 0,
			ShipDetail: r.ShipHash, FileRequestNo: r.RequestNo, Line: int(r.Line)}
		if n := len(rows) - 1; n >= 0 && rows[n].Item == row.Item && rows[n].At == row.At && rows[n].Amount < 0 == (row.Amount < 0) {
			if r.BookedNo > no { // it changed the shipping
				rows[n], no = row, r.BookedNo
			}
			continue
		}
		rows, no = append(rows, row), r.BookedNo
	}
	return rows, more, nil
}
