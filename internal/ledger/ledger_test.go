package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
	"github.com/openinfinia/infinia/money"
)

const app, seller, currency = "demo", "S", "CNH"

func openBooks(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Database: path})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func closeBooks(t *testing.T, db *store.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

var (
	external = ExternalAccount(app, currency)
	platform = PlatformAccount(app, currency)
	received = SellerAccount(app, Seller, seller, currency)
	evidence = SellerAccount(app, Evidence, seller, currency)
	shipped  = SellerAccount(app, FiledShipped, seller, currency)
	used     = SellerAccount(app, Used, seller, currency)
)

func onBooks(db *store.DB, judge func(v *store.View) error) error {
	return db.Do(context.Background(), store.Unit{Keys: store.Keys{Accounts: []store.AccountKey{external, platform, received, evidence, shipped, used}}, Judge: judge})
}

func TestPostAndHold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := openBooks(t, engine.New(t))
		defer closeBooks(t, db)
		for _, c := range []struct {
			name string
			do   func(v *store.View) error
			want error // nil: done; errAny: refused for whatever reason
		}{
			{"deposit", func(v *store.View) error { return Post(v, ForDeposit, 1, external, platform, 100) }, nil},
			{"nothing", func(v *store.View) error { return Post(v, ForDeposit, 1, external, platform, 0) }, errAny},
			{"less than nothing", func(v *store.View) error { return Post(v, ForDeposit, 1, external, platform, -1) }, errAny},
			{"to itself", func(v *store.View) error { return Post(v, ForDeposit, 1, platform, platform, 1) }, errAny},
			{"between the books", func(v *store.View) error { return Post(v, ForDeposit, 1, platform, used, 1) }, errAny},
			{"between currencies", func(v *store.View) error {
				return Post(v, ForDeposit, 1, platform, store.AccountKey{AppID: app, Kind: Seller, SellerID: seller, Currency: "USD"}, 1)
			}, errAny},
			{"more than is there", func(v *store.View) error { return Post(v, ForShare, 1, platform, received, 101) }, ErrShort},
			{"hold", func(v *store.View) error { return Hold(v, platform, 60) }, nil},
			{"hold more than is available", func(v *store.View) error { return Hold(v, platform, 41) }, ErrShort},
			{"post what is held", func(v *store.View) error { return Post(v, ForShare, 1, platform, received, 41) }, ErrShort},
			{"post what is not held", func(v *store.View) error { return Post(v, ForShare, 1, platform, received, 40) }, nil},
			{"release more than is held", func(v *store.View) error { return Release(v, platform, 61) }, errAny},
			{"release", func(v *store.View) error { return Release(v, platform, 60) }, nil},
			{"hold on entitlement, which has no floor of its own", func(v *store.View) error { return Hold(v, used, 1<<40) }, nil},
			{"hold over int64", func(v *store.View) error { return Hold(v, used, 1<<63-1) }, money.ErrOverflow},
			{"balance over int64", func(v *store.View) error { return Post(v, ForTrade, 1, evidence, shipped, 1<<63-1) }, nil},
			{"one more", func(v *store.View) error { return Post(v, ForTrade, 1, evidence, shipped, 1) }, money.ErrOverflow},
		} {
			err := onBooks(db, c.do)
			if c.want == errAny && err != nil {
				continue
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
	})
}

var errAny = errors.New("any")

func TestDayCounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := openBooks(t, engine.New(t))
		defer closeBooks(t, db)
		if err := onBooks(db, func(v *store.View) error {
			for _, c := range []struct{ day, amount, counted, sum int64 }{
				{10, 5, 10, 5}, {10, 7, 10, 12}, {9, 1, 10, 13}, // a day never goes back
				{11, 2, 11, 2},
			} {
				counted, err := CountDay(v, used, c.day, c.amount)
				if err != nil {
					return err
				}
				if sum := OnDay(Get(v, used), counted); counted != c.counted || sum != c.sum {
					t.Errorf("day %d: counted on %d, sum %d; want %d and %d", c.day, counted, sum, c.counted, c.sum)
				}
			}
			UncountDay(v, used, 10, 7) // that day is over
			UncountDay(v, used, 11, 2)
			if a := Get(v, used); OnDay(a, 11) != 0 || OnDay(a, 12) != 0 {
				t.Errorf("after taking back: %d", OnDay(a, 11))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestVerifyFindsEveryFault damages sound books in one way after the other; Verify has to name each.
func TestVerifyFindsEveryFault(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		for _, c := range []struct{ damage, want string }{
			{"", ""},
			{"UPDATE account SET balance = balance + 1 WHERE kind = 'platform'", "the money book sums to 1"},
			{"UPDATE account SET balance = balance - 1 WHERE kind = 'evidence'", "the entitlement book to -1"},
			{"UPDATE account SET balance = balance + 1 WHERE kind IN ('platform'); UPDATE account SET balance = balance - 1 WHERE kind = 'external'", "but 2 postings sum to"},
			{"UPDATE account SET last_no = last_no + 1 WHERE kind = 'seller'", "last number 2, but 1 postings"},
			{"UPDATE posting SET from_no = from_no + 7 WHERE purpose = 'share'", "but 2 postings"},
			{"UPDATE posting SET to_balance = to_balance + 1 WHERE purpose = 'deposit'", "counted"},
			{"UPDATE posting SET at = at + 100000 WHERE purpose = 'deposit'", "goes back in time"},
			{"UPDATE posting SET to_no = 9, to_id = (SELECT id FROM account WHERE kind = 'used') WHERE purpose = 'deposit'", "do not belong together"},
			{"UPDATE posting SET from_before_id = 1 WHERE purpose = 'share'", "says that posting 1 is before it"},
			{"UPDATE posting SET to_before_id = id WHERE purpose = 'deposit'", "is before it, which is 0"},
			{"UPDATE account SET last_posting_id = 1 WHERE kind = 'seller'", "posting 1 is not its last, number 1"},
			{"DELETE FROM posting WHERE purpose = 'trade'", "0 postings sum to 0"},
			{"UPDATE account SET held = held + 1 WHERE kind = 'platform'", "31 held, shares in process sum to 30"},
			{"UPDATE account SET held = -1 WHERE kind = 'seller'", "is below its limit"},
			{"UPDATE account SET held = 1000 WHERE kind = 'platform'", "is below its limit"},
			{"UPDATE share SET state = 'RELEASED' WHERE state = 'SETTLED'", "RELEASED with 2 postings"},
			{"UPDATE share SET state = 'SETTLED' WHERE state = 'HELD'", "SETTLED with 0 postings"},
			{"UPDATE share SET state = 'LOST' WHERE state = 'HELD'", "LOST with 0 postings"},
			{"UPDATE share SET allowed = 0 WHERE state = 'SETTLED'", "over what was allowed"},
			{"DELETE FROM task WHERE queue = 'settle'", "0 settlements waiting"},
			{"DELETE FROM share WHERE state = 'SETTLED'", "which does not exist"},
			{"DELETE FROM request WHERE request_no = 'settled'", "0 accepted requests made it"},
			{"UPDATE request SET code = 'BIZ-005' WHERE request_no = 'settled'", "0 accepted requests made it"},
			{"UPDATE deposit SET amount = amount + 1", "do not fit its 101"},
			{"UPDATE deposit SET reversed_at = 1", "0 taken back"},
			{"UPDATE trade_row SET amount = amount + 1", "accepted rows sum to 81 shipped"},
			{"UPDATE trade_part SET accepted_rows = 2", "accepted 1 rows, its parts 2"},
			{"UPDATE trade_row SET shipped = 0", "accepted rows sum to 0 shipped and 80 not"},
			{"UPDATE trade_file SET state = 'FAILED'", "accepted rows sum to 0 shipped and 0 not"},
		} {
			path := engine.New(t)
			makeBooks(t, path)
			if c.damage != "" {
				engine.Exec(t, path, c.damage)
			}
			db := openBooks(t, path)
			if err := db.Read(t.Context(), func(q *pgdb.Queries) error {
				r, err := Verify(t.Context(), q)
				all := strings.Join(r.Faults, "\n")
				if (c.want == "") != (len(r.Faults) == 0) || !strings.Contains(all, c.want) {
					t.Errorf("%s: want %q in %q", c.damage, c.want, all)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			closeBooks(t, db)
		}
	})
}

// makeBooks writes sound books: a deposit of 100, trades of 80, a share of 10 that is settled and one of 30 that is held.
func makeBooks(t *testing.T, path string) {
	t.Helper()
	db := openBooks(t, path)
	defer closeBooks(t, db)
	deposit := store.DepositKey{Currency: currency, BankReference: "B"}
	share := func(v *store.View, requestNo, state string, amount int64) int64 {
		s := pgdb.Share{ID: v.NextID(), AppID: app, RequestNo: requestNo, SellerID: seller, Currency: currency, Amount: amount, State: state, Allowed: 80, Committed: 40}
		v.Shares.Put(s.ID, s)
		k := store.RequestKey{AppID: app, Operation: "revenue-sharing/request", RequestNo: requestNo}
		v.Requests.Put(k, pgdb.Request{ID: v.NextID(), AppID: app, Operation: k.Operation, RequestNo: requestNo, FieldHashes: []byte{}, RecordID: s.ID})
		return s.ID
	}
	err := db.Do(t.Context(), store.Unit{
		Keys: store.Keys{Accounts: []store.AccountKey{external, platform, received, evidence, shipped, used}, Deposits: []store.DepositKey{deposit}},
		Judge: func(v *store.View) error {
			d := pgdb.Deposit{ID: v.NextID(), AppID: app, Currency: currency, Amount: 100, BankReference: "B"}
			v.Deposits.Put(deposit, d)
			f := pgdb.TradeFile{ID: 7, AppID: app, RequestNo: "T", Attempt: 1, State: "SUCCESS", AcceptedRows: 1, RunID: 8, BookedNo: 1}
			v.Files.Put(f.ID, f)
			settled, held := share(v, "settled", "SETTLED", 10), share(v, "held", "HELD", 30)
			v.AddTask("settle", held, 0)
			v.AddTradePart(pgdb.TradePart{FileID: f.ID, SellerID: seller, Currency: currency, TotalRows: 1, AcceptedRows: 1})
			v.AddTradeRows([]pgdb.TradeRow{{App: 1, ItemKey: []byte{1}, RunID: f.RunID, Amount: 80, Shipped: 1}})
			return errors.Join(Post(v, ForDeposit, d.ID, external, platform, 100), Post(v, ForTrade, f.ID, evidence, shipped, 80),
				Post(v, ForShare, settled, platform, received, 10), Post(v, ForShare, settled, evidence, used, 10),
				Hold(v, platform, 30), Hold(v, used, 30))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}
