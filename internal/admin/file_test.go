package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
	"github.com/openinfinia/infinia/internal/trade"
)

func hours(n int) time.Duration { return time.Duration(n) * time.Hour }

// trades has a file with one sale judged and booked.
func (r *rig) trades(requestNo, seller, amount string) {
	r.Helper()
	r.upload(requestNo, "sellerId,orderId,sku,transactionTime,transactionCurrency,transactionAmount,productType,productName,productQuantity,"+
		"productUnitPrice,shippingStatus,estimatedShippingTime,logisticsTrackingNo,logisticsCompany,shippingTime,country,storeUrl,buyerName,buyerAddress\n"+
		seller+",PI-1,SKU-1,2026-02-03 10:00:00,CNH,"+amount+",A01,Lamp,1,"+amount+",Shipped,,TN-1,SF Express,2026-02-04 09:00:00,CHN,https://store.example.com/acme,,\n")
	r.due(trade.FileQueue(testApp), outbox.Each(r.im.Import))
}

func (r *rig) upload(requestNo, text string) {
	r.Helper()
	path := filepath.Join(r.TempDir(), "upload.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	if err := r.im.Receive(r.Context(), testApp, requestNo, path, int64(len(text)), hex.EncodeToString(sum[:])); err != nil {
		r.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		r.confirmed("B-1", "S1")
		r.trades("T-1", "S1", "100.00")
		r.upload("T-1", "other bytes")
		f := must(r, r.Files, FilesFilter{AppID: testApp, RequestNo: "T-1", Status: "SUCCESS"}).Items[0]
		d := must(r, r.File, f.ID)
		if d.AcceptedRows != 1 || len(d.Parts) != 1 || d.Parts[0] != (FilePart{"S1", "CNH", 1, 1, 0}) || len(d.Refused) != 1 || d.Refused[0].Size != 11 {
			t.Errorf("file: %+v", d)
		}
		_, err := r.FileErrors(r.Context(), f.ID)
		r.refused(err, 404)

		r.trades("T-2", "S2", "100.00") // a seller who is not bound
		f = must(r, r.Files, FilesFilter{Status: "FAILED"}).Items[0]
		body, err := r.FileErrors(r.Context(), f.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		if text, err := io.ReadAll(body); err != nil || !strings.HasPrefix(string(text), "sellerId,") || !strings.Contains(string(text), "S2,PI-1") {
			t.Errorf("error file: %s %v", text, err)
		}
		_, err = r.FileErrors(r.Context(), "999999")
		r.refused(err, 404)
		_, err = r.File(r.Context(), "999999")
		r.refused(err, 404)
		r.verify()
	})
}

// PostgreSQL's missing socket is a missing file as well, and no answer about the error file.
func TestErrorFileWithoutDatabase(t *testing.T) {
	t.Parallel()
	r := withApp(t, storetest.SQLite, store.Settings{AutoApprove: true})
	r.trades("T-1", "S1", "100.00") // a seller who is not bound
	f := must(r, r.Files, FilesFilter{Status: "FAILED"}).Items[0]
	proxy, through := storetest.StartSocketProxy(t, storetest.Postgres.New(t))
	db, err := store.Open(t.Context(), store.Config{Database: through, Clock: r.e.DB.Clock})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r.im.DB = db
	proxy.Close()
	_, err = r.FileErrors(r.Context(), f.ID)
	r.refused(err, 503)
}

func TestShares(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true, CapBasisPoints: new(int64(8000))})
		r.confirmed("B-1", "S1")
		r.trades("T-1", "S1", "100.00")
		must(r, r.AddDeposit, r.newDeposit("BANK 1", "500"))
		call[infinia.RevenueSharingReply](r, infinia.OpRevenueSharing, map[string]string{"requestNo": "R-1", "sellerId": "S1", "currency": "CNH", "amount": "30", "note": "March"})
		held := must(r, r.Shares, SharesFilter{AppID: testApp, SellerID: "S1", Currency: "CNH", State: "HELD"}).Items
		if len(held) != 1 || held[0].Amount != "30.00" || held[0].Allowed != "80.00" || held[0].Committed != "30.00" || held[0].CapBasisPoints != 8000 || held[0].Note != "March" {
			t.Fatalf("held: %+v", held)
		}
		r.due(op.SettleQueue, r.e.Settle)
		if s := must(r, r.Share, held[0].ID); s.State != "SETTLED" || s.FinishedAt.IsZero() || s.BindingID == "" {
			t.Errorf("settled: %+v", s)
		}
		_, err := r.Share(r.Context(), "999999")
		r.refused(err, 404)
		r.verify()
	})
}

// TestTraceWithoutErrorFile: what only the error file knew of a row is not made up once it was erased.
func TestTraceWithoutErrorFile(t *testing.T) {
	t.Parallel()
	r := withApp(t, storetest.SQLite, store.Settings{AutoApprove: true})
	r.file("T-1", tradeHeader+tradeRow("S2", "LAMP", "10:00:00", "100.00", "TN-1")+tradeRow("S2", "BED", "10:00:00", "100.00", "TN-1"))
	if row := r.row("T-1", 2); row.Verdict != rowRejected || len(row.Problems) != 1 {
		t.Errorf("%+v", row)
	}
	f := must(r, r.Files, FilesFilter{Status: "FAILED"}).Items[0]
	if _, err := r.RedactFile(t.Context(), f.ID, Redact{Act: r.act(), Lines: []int{3}}); err != nil {
		t.Fatal(err)
	}
	if row := r.row("T-1", 2); row.Verdict != rowFailed || !strings.Contains(row.Why, "was in the error file, which was erased on 2026-03-01") {
		t.Errorf("%s: %s", row.Verdict, row.Why)
	}
}

// TestErrorFileThatBreaksOff: who gets a part of an error file learns that it is one.
func TestErrorFileThatBreaksOff(t *testing.T) {
	t.Parallel()
	r := withApp(t, storetest.SQLite, store.Settings{AutoApprove: true})
	var rows strings.Builder
	for i := range 2000 {
		rows.WriteString(tradeRow("S2", fmt.Sprint("SKU-", i), "10:00:00", "100.00", "TN-1"))
	}
	r.file("T-1", tradeHeader+rows.String())
	f := must(r, r.Files, FilesFilter{Status: "FAILED"}).Items[0]
	if err := r.e.DB.Do(t.Context(), store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		row, err := q.GetTradeFile(ctx, f.ID.number())
		if err != nil {
			return err
		}
		return q.UpdateContentChunk(ctx, pgdb.UpdateContentChunkParams{ContentID: row.ErrorsID, No: 1, Data: []byte("damaged")})
	}}); err != nil {
		t.Fatal(err)
	}
	body, err := r.FileErrors(t.Context(), f.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); len(text) == 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestEraseFile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		r.confirmed("B-1", "S1")
		r.trades("T-1", "S1", "100.00")
		r.trades("T-2", "S2", "100.00") // a seller who is not bound
		good, bad := must(r, r.Files, FilesFilter{Status: "SUCCESS"}).Items[0], must(r, r.Files, FilesFilter{Status: "FAILED"}).Items[0]

		act := r.act()
		first, err := r.EraseFile(r.Context(), bad.ID, act)
		if err != nil || first.ErasedAt.IsZero() || first.EraseReason != act.Reason || first.SHA256 != bad.SHA256 {
			t.Errorf("%+v %v", first, err)
		}
		again, err := r.EraseFile(r.Context(), bad.ID, act)
		if err != nil || again != first {
			t.Errorf("the same act again: %+v %v", again, err)
		}
		_, err = r.EraseFile(r.Context(), bad.ID, r.act())
		r.refused(err, 409)
		_, err = r.FileErrors(r.Context(), bad.ID)
		r.refused(err, 410)
		if d := must(r, r.File, bad.ID); d.File != first || d.Parts == nil || len(d.Broken) == 0 {
			t.Errorf("shown: %+v", d)
		}
		if _, err := r.EraseFile(r.Context(), good.ID, r.act()); err != nil {
			t.Error(err)
		}
		_, err = r.FileErrors(r.Context(), good.ID) // it never had one
		r.refused(err, 404)
		_, err = r.EraseFile(r.Context(), "999999", r.act())
		r.refused(err, 404)
		if got := must(r, r.Audits, AuditsFilter{Act: "file.erase"}).Items; len(got) != 2 || got[1].Subject != "file "+string(bad.ID) || got[1].AppID != testApp {
			t.Errorf("audit: %+v", got)
		}
		r.verify()
	})
}

func TestRedactFile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		r.confirmed("B-1", "S1")
		r.trades("T-1", "S1", "100.00")
		f := must(r, r.Files, FilesFilter{Status: "SUCCESS"}).Items[0]
		_, err := r.RedactFile(r.Context(), f.ID, Redact{Act: r.act()})
		r.refused(err, 422, "lines")
		_, err = r.RedactFile(r.Context(), f.ID, Redact{Act: r.act(), Lines: []int{3}})
		r.refused(err, 422, "lines")
		_, err = r.RedactFile(r.Context(), "999999", Redact{Act: r.act(), Lines: []int{2}})
		r.refused(err, 404)
		act := Redact{Act: r.act(), Lines: []int{2}}
		first, err := r.RedactFile(r.Context(), f.ID, act)
		if err != nil || first.RedactedAt.IsZero() || first.SHA256 != f.SHA256 || !first.ErasedAt.IsZero() {
			t.Errorf("%+v %v", first, err)
		}
		if again, err := r.RedactFile(r.Context(), f.ID, act); err != nil || again != first {
			t.Errorf("the same act again: %+v %v", again, err)
		}
		act.Lines = []int{3}
		_, err = r.RedactFile(r.Context(), f.ID, act)
		r.refused(err, 409, "reference")
		if _, err := r.EraseFile(r.Context(), f.ID, r.act()); err != nil {
			t.Error(err)
		}
		_, err = r.RedactFile(r.Context(), f.ID, Redact{Act: r.act(), Lines: []int{2}})
		r.refused(err, 409)
		r.verify()
	})
}
