package admin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
	"github.com/openinfinia/infinia/internal/trade"
)

const tradeHeader = "sellerId,orderId,sku,transactionTime,transactionCurrency,transactionAmount,productType,productName,productQuantity," +
	"productUnitPrice,shippingStatus,estimatedShippingTime,logisticsTrackingNo,logisticsCompany,shippingTime,country,storeUrl,buyerName,buyerAddress\n"

// tradeRow is a row of order PI-1 at a time of day; shipping is a tracking number, or empty for Not Shipped.
func tradeRow(seller, sku, clock, amount, shipping string) string {
	status := "Not Shipped,2026-03-01 09:00:00,,,"
	if shipping != "" {
		status = "Shipped,," + shipping + ",SF Express,2026-02-04 09:00:00"
	}
	return fmt.Sprintf("%s,PI-1,%s,2026-02-03 %s,CNH,%s,A01,灯,1,%s,%s,CHN,https://store.example.com/acme,王小明,\"杭州, 西湖区\"\n",
		seller, sku, clock, amount, strings.TrimPrefix(amount, "-"), status)
}

// file has a file judged and, if it is sound, booked.
func (r *rig) file(requestNo string, text string) {
	r.Helper()
	r.upload(requestNo, text)
	r.due(trade.FileQueue(testApp), outbox.Each(r.im.Import))
}

func (r *rig) row(requestNo string, line int) TracedRow {
	r.Helper()
	return must(r, r.TraceRow, TraceRow{AppID: testApp, RequestNo: requestNo, Line: line})
}

func (r *rig) share(requestNo, amount string) {
	r.Helper()
	call[infinia.RevenueSharingReply](r, infinia.OpRevenueSharing, map[string]string{"requestNo": requestNo, "sellerId": "S1", "currency": "CNH", "amount": amount})
}

func (r *rig) refusedShare(requestNo, amount string) infinia.Code {
	r.Helper()
	content := op.Content{}
	for k, v := range map[string]string{"requestNo": requestNo, "sellerId": "S1", "currency": "CNH", "amount": amount} {
		content[k] = &v
	}
	i := slices.IndexFunc(op.All, func(o op.Operation) bool { return o.Name == infinia.OpRevenueSharing })
	_, err := op.All[i].Run(r.Context(), r.e, pgdb.App{AppID: testApp}, content)
	e, ok := errors.AsType[*infinia.Error](err)
	if !ok {
		r.Fatalf("share %s: %v, want a refusal", requestNo, err)
	}
	return e.Code
}

func TestTraceRow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true, AcceptPartial: true})
		r.confirmed("B-1", "S1")
		must(r, r.AddDeposit, r.newDeposit("BANK 1", "500"))
		lamp := tradeRow("S1", "LAMP", "10:00:00", "100.00", "")
		shipped := tradeRow("S1", "LAMP", "10:00:00", "100.00", "TN-1")
		r.file("T-1", tradeHeader+lamp+tradeRow("S1", "BED", "10:00:00", "50.00", "TN-2")+lamp)
		r.share("R-1", "20.00")
		r.due(op.SettleQueue, r.e.Settle)
		must(r, r.AdvanceClock, hours(1))
		r.file("T-2", tradeHeader+shipped+tradeRow("S1", "LAMP", "11:00:00", "-30.00", "TN-1")+strings.Replace(tradeRow("S1", "SOFA", "10:00:00", "70.00", "TN-3"), "CHN", "XX", 1)+
			tradeRow("S1", "BED", "10:00:00", "50.00", "TN-2")+tradeRow("S1", "BED", "12:00:00", "-51.00", "TN-2")+tradeRow("S1", "\"", "10:00:00", "1.00", "TN-2"))
		r.share("R-2", "10.00")

		for _, c := range []struct {
			file     string
			line     int
			verdict  string
			why      string
			problems []string
			inPlace  string
			shares   string
		}{
			{"T-1", 2, rowSuperseded, "its amount counts, once, with the shipping that T-2 line 2 filed later", nil, "T-2 2", "R-2 R-1"},
			{"T-1", 3, rowCounts, "it counts", nil, "", "R-2 R-1"},
			{"T-1", 4, rowRepeat, "it books nothing: line 2 of its file is the same row", nil, "T-2 2", ""},
			{"T-2", 2, rowCounts, "it counts, and changed the shipping of what T-1 line 2 had filed", nil, "", "R-2"},
			{"T-2", 3, rowCounts, "it counts", nil, "", "R-2"},
			{"T-2", 4, rowRejected, "it was rejected", []string{"country: is not a country"}, "", ""},
			{"T-2", 5, rowRepeat, "it books nothing: T-1 line 3 had filed the same", nil, "T-1 3", ""},
			{"T-2", 6, rowRejected, "it was rejected", []string{"transactionAmount: the returns of"}, "", ""}, // which no row shows by itself
			{"T-2", 7, rowRejected, "it was rejected", []string{"row: a quote"}, "", ""},
		} {
			row := r.row(c.file, c.line)
			place := ""
			if p := row.InPlace; p != nil {
				place = fmt.Sprint(p.RequestNo, " ", p.Line)
			}
			var shares []string
			for _, s := range row.Shares {
				shares = append(shares, s.RequestNo)
			}
			slices.Sort(shares)
			slices.Reverse(shares)
			if row.Verdict != c.verdict || row.Why != c.why || place != c.inPlace || strings.Join(shares, " ") != c.shares || row.Line != c.line || row.File.RequestNo != c.file ||
				!slices.EqualFunc(row.Problems, c.problems, strings.HasPrefix) {
				t.Errorf("%s line %d: %s, %s, %q, in place %q, shares %v", c.file, c.line, row.Verdict, row.Why, row.Problems, place, shares)
			}
		}

		row := r.row("T-1", 2)
		if row.Text+"\n" != lamp || row.Encoding != "UTF-8" || row.SellerID != "S1" || row.OrderID != "PI-1" || row.SKU != "LAMP" || row.Amount != "100.00" || row.Currency != "CNH" ||
			row.ShippingStatus != "Not Shipped" || row.At.Format("15:04") != "02:00" || row.Time != "2026-02-03 10:00:00" {
			t.Errorf("the row: %+v", row)
		}
		i := row.Item
		if i == nil || i.Shipped != "100.00" || i.Unshipped != "0.00" || i.Returned != "30.00" || i.NetShipped != "70.00" || i.NetUnshipped != "0.00" || len(i.Rows) != 3 || i.MoreRows != 0 ||
			i.Rows[0].Counts || i.Rows[0].Shipped || !i.Rows[1].Counts || !i.Rows[1].Shipped || i.Rows[2].Amount != "-30.00" {
			t.Errorf("its item: %+v", i)
		}
		if a := row.Available; a == nil || a.Available != "90.00" || a.Steps[0].Amount != "120.00" {
			t.Errorf("available: %+v", a)
		}
		if item := must(r, r.TraceItem, TraceItem{testApp, "S1", "PI-1", "LAMP"}); fmt.Sprint(item) != fmt.Sprint(*i) {
			t.Errorf("item: %+v", item)
		}

		// A file of another attempt, by its id.
		r.file("T-3", tradeHeader+tradeRow("S2", "LAMP", "10:00:00", "1.00", ""))
		failed := must(r, r.Files, FilesFilter{RequestNo: "T-3"}).Items[0].ID
		r.file("T-3", tradeHeader+tradeRow("S1", "RUG", "10:00:00", "1.00", ""))
		if row := must(r, r.TraceRow, TraceRow{FileID: failed, Line: 2}); row.Verdict != rowRejected || !strings.Contains(row.Problems[0], "was never bound") || row.Item != nil {
			t.Errorf("the first attempt: %+v", row)
		}
		if row := r.row("T-3", 2); row.Verdict != rowCounts {
			t.Errorf("the second attempt: %+v", row)
		}
		r.verify()
		if strings.Contains(r.log.String(), "王小明") {
			t.Error("a buyer's name is logged")
		}
	})
}

func TestTraceRowOfAFailedFile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		r.confirmed("B-1", "S1")
		sound := tradeRow("S1", "LAMP", "10:00:00", "100.00", "TN-1")
		r.upload("T-0", tradeHeader+sound)
		if row := r.row("T-0", 2); row.Verdict != rowProcessing || row.Item != nil {
			t.Errorf("in process: %+v", row)
		}
		r.due(trade.FileQueue(testApp), outbox.Each(r.im.Import))
		r.file("T-1", tradeHeader+sound+tradeRow("S1", "LAMP", "10:00:00", "90.00", "TN-1")+"S1,PI-1\n")
		r.file("T-2", strings.Replace(tradeHeader, "sku,", "", 1)+sound)
		for _, c := range []struct {
			file         string
			line         int
			verdict, why string
			problems     int
		}{
			{"T-1", 2, rowRejected, "it was rejected; of its seller, order, sku, time and sign T-0 line 2 counts", 1},
			{"T-1", 3, rowRejected, "it was rejected; of its seller, order, sku, time and sign T-0 line 2 counts", 2},
			{"T-1", 4, rowRejected, "it was rejected", 1},
			{"T-2", 2, rowFailed, "nothing of its file counts: sku: is missing from the header; add the column", 0},
		} {
			if row := r.row(c.file, c.line); row.Verdict != c.verdict || row.Why != c.why || len(row.Problems) != c.problems || row.Text == "" {
				t.Errorf("%s line %d: %+v", c.file, c.line, row)
			}
		}
		r.file("T-4", tradeHeader+tradeRow("S1", "RUG", "10:00:00", "1.00", "TN-1")+"S1,PI-1\n"+sound)
		if row := r.row("T-4", 2); row.Verdict != rowFailed || !strings.HasPrefix(row.Why, "it is sound") || row.Available == nil {
			t.Errorf("sound: %+v", row)
		}
	})
}

func TestTraceRowInOtherEncodings(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true, AcceptPartial: true})
		r.confirmed("B-1", "S1")
		wrong := strings.Replace(tradeRow("S1", "王", "10:00:00", "5.00", "TN-1"), "CHN", "中国大陆", 1)
		text := func(hour string) (whole, row string) {
			row = tradeRow("S1", "台灯", hour+":00:00", "100.00", "TN-1")
			return tradeHeader + strings.Replace(row, "PI-1", "\"PI\n1\"", 1) + row + wrong, row
		}
		gb, gbRow := text("10")
		encoded, err := simplifiedchinese.GB18030.NewEncoder().String(gb)
		if err != nil {
			t.Fatal(err)
		}
		r.file("GB", encoded)
		wide, wideRow := text("11")
		var b bytes.Buffer
		for _, u := range utf16.Encode([]rune("\ufeff" + wide)) {
			b.Write([]byte{byte(u >> 8), byte(u)})
		}
		r.file("WIDE", b.String())
		for _, c := range []struct{ file, row, encoding string }{{"GB", gbRow, "GB18030"}, {"WIDE", wideRow, "UTF-16"}} {
			if row := r.row(c.file, 4); row.Text+"\n" != c.row || row.Encoding != c.encoding || row.SKU != "台灯" || row.Verdict != rowCounts || row.Line != 4 {
				t.Errorf("%s: %+v", c.file, row)
			}
			// The record of lines 2 and 3 has a line end in a cell, which is no id.
			if row := r.row(c.file, 3); row.Line != 2 || row.Verdict != rowRejected || !strings.Contains(row.Text, "\n") {
				t.Errorf("%s: %+v", c.file, row)
			}
			if row := r.row(c.file, 5); row.Verdict != rowRejected || len(row.Problems) != 1 || !strings.HasPrefix(row.Problems[0], "country: ") {
				t.Errorf("%s: %+v", c.file, row)
			}
		}
	})
}

func TestTraceRefuses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		r.confirmed("B-1", "S1")
		r.file("T-1", tradeHeader+tradeRow("S1", "LAMP", "10:00:00", "100.00", "TN-1")+"\n"+strings.TrimSuffix(tradeRow("S1", "BED", "10:00:00", "1.00", "TN-1"), "\n"))
		file := must(r, r.Files, FilesFilter{}).Items[0].ID
		if row := r.row("T-1", 4); row.SKU != "BED" { // the last line has no end
			t.Errorf("%+v", row)
		}
		for _, c := range []struct {
			in     TraceRow
			status int
			field  string
			detail string
		}{
			{TraceRow{AppID: "none", RequestNo: "T-1", Line: 2}, 404, "appId", "is of no app here"},
			{TraceRow{AppID: testApp, RequestNo: "T-9", Line: 2}, 404, "requestNo", "is of no file that has arrived whole"},
			{TraceRow{AppID: testApp, RequestNo: "T-1", Line: 1}, 404, "line", "is not a row: the header ends on line 1"},
			{TraceRow{AppID: testApp, RequestNo: "T-1", Line: 3}, 404, "line", "is empty"},
			{TraceRow{AppID: testApp, RequestNo: "T-1", Line: 5}, 404, "line", "is behind the end of the file, whose last line is 4"},
			{TraceRow{AppID: testApp, Line: 2}, 422, "requestNo", ""},
			{TraceRow{RequestNo: "T-1", Line: 2}, 422, "appId", ""},
			{TraceRow{AppID: testApp, RequestNo: "T-1"}, 422, "line", ""},
			{TraceRow{FileID: "999999", Line: 2}, 404, "fileId", "is of no file here"},
			{TraceRow{FileID: file, AppID: "other", Line: 2}, 404, "fileId", "is of another app's file"},
			{TraceRow{FileID: file, RequestNo: "T-2", Line: 2}, 404, "fileId", "is of a file with another requestNo"},
		} {
			_, err := r.TraceRow(r.Context(), c.in)
			if e := r.refused(err, c.status, c.field); c.detail != "" && e.Detail != c.field+" "+c.detail {
				t.Errorf("%+v: %s", c.in, e.Detail)
			}
		}
		_, err := r.TraceItem(r.Context(), TraceItem{testApp, "S1", "PI-1", "lamp"})
		r.refused(err, 404, "sku")
		_, err = r.TraceItem(r.Context(), TraceItem{"none", "S1", "PI-1", "LAMP"})
		r.refused(err, 404, "appId")
		_, err = r.TraceSeller(r.Context(), TraceSeller{testApp, "S1", "XXQ"})
		r.refused(err, 422, "currency")
		_, err = r.TraceSeller(r.Context(), TraceSeller{AppID: testApp, Currency: "CNH"})
		r.refused(err, 422, "sellerId")
		_, err = r.TraceShare(r.Context(), TraceShare{testApp, "R-9"})
		r.refused(err, 404, "requestNo")
	})
}

// TestTraceSellerWithoutAvailableShare goes through the reasons why there is none. Each time a call gets the refusal that is
// foretold first.
func TestTraceSellerWithoutAvailableShare(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		n := 0
		check := func(what string, why ...string) TracedSeller {
			t.Helper()
			s := must(r, r.TraceSeller, TraceSeller{testApp, "S1", "CNH"})
			if !slices.EqualFunc(s.Why, why, strings.Contains) {
				t.Errorf("%s: %q, want %q", what, s.Why, why)
			}
			stops := slices.DeleteFunc(slices.Clone(s.Stops), func(s Stop) bool { return strings.HasPrefix(string(s.Code), "SEC-") }) // the gate's
			if len(stops) == 0 {
				return s
			}
			n++
			if code := r.refusedShare(fmt.Sprint("TRY-", n), "0.01"); code != stops[0].Code || s.MostNow != "0.00" {
				t.Errorf("%s: a share is answered %s, foretold was %s and at most %s", what, code, stops[0].Code, s.MostNow)
			}
			return s
		}
		const noMoney = "the platform's account in CNH has nothing left: 0.00"
		check("unknown", "nobody has asked to bind", "no accepted trade file has a row", noMoney)
		b := r.confirmed("B-1", "S1")
		check("bound", "no accepted trade file has a row", noMoney)
		must(r, r.AddDeposit, r.newDeposit("BANK 1", "500"))
		check("money", "no accepted trade file has a row")

		r.file("T-1", tradeHeader+strings.Replace(tradeRow("S1", "LAMP", "10:00:00", "100.00", ""), "CHN", "XX", 1))
		r.file("T-2", "sku\n")
		r.upload("T-3", tradeHeader+tradeRow("S1", "LAMP", "10:00:00", "100.00", ""))
		s := check("files", "no accepted trade file has a row", "file T-2 (id ", "file T-1 (id ", "files that are still being judged, and may have rows of this seller: 1")
		if f := s.Files; len(f) != 3 || f[0].Status != "PROCESSING" || f[2].RowsOfSeller != 1 || f[2].AcceptedOfSeller != 0 ||
			!strings.HasSuffix(s.Why[1], "FAILED before its rows could be read: "+f[1].FailReason) ||
			!strings.HasSuffix(s.Why[2], "FAILED, with 1 row of this seller: 1 row (line 2): "+f[2].Broken[0].Example) {
			t.Errorf("files: %+v", s)
		}
		r.due(trade.FileQueue(testApp), outbox.Each(r.im.Import))
		set := func(change store.Settings) {
			t.Helper()
			change.AutoApprove = true
			must2(r, r.SetSettings, testApp, NewSettings{Act: r.act(), Settings: change})
		}
		failed := "file T-1 (id "
		set(store.Settings{IgnoreUnshipped: true})
		check("unshipped", "everything filed is Not Shipped", "file T-2 (id ", failed)
		set(store.Settings{CapBasisPoints: new(int64(0))})
		check("cap", "capBasisPoints leaves nothing", "file T-2 (id ", failed)
		set(store.Settings{Currencies: []string{"USD"}})
		check("currency", "the app's setting currencies does not have CNH", failed)
		set(store.Settings{Operations: []string{string(infinia.OpAccountBalance)}})
		check("operation", "the app's setting operations does not let it", failed)
		set(store.Settings{LimitPerShare: map[string]string{"CNH": "30"}})
		s = check("sound", "nothing stops a share of up to 30.00, which is left under limitPerShare", failed)
		if s.Available != "100.00" || s.MostNow != "30.00" || len(s.Limits) != 1 || s.Limits[0] != (TracedLimit{"limitPerShare", "30.00", "0.00", "30.00"}) || s.Binding.State != "SUCCESS" || s.SellerStatus != "ACTIVE" {
			t.Errorf("sound: %+v", s)
		}
		r.share("R-1", "30.00")
		set(store.Settings{LimitPerSellerDay: map[string]string{"CNH": "30"}, LimitPerDay: map[string]string{"CNH": "20"}})
		check("limits", "limitPerSellerDay is reached: 30.00 of 30.00", "limitPerDay is reached: 30.00 of 20.00", failed)
		set(store.Settings{})
		r.share("R-2", "70.00")
		s = check("used", "all that is allowed is shared or in process", "file T-2 (id ", failed)
		if s.Steps[5].Amount != "100.00" || len(s.Shares) != 2 {
			t.Errorf("held: %+v", s)
		}
		r.due(op.SettleQueue, r.e.Settle)
		r.file("T-4", tradeHeader+tradeRow("S1", "LAMP", "11:00:00", "-40.00", ""))
		s = check("returned", "shares exceed by 40.00 what the trades allow", "file T-2 (id ", failed)
		if s.Steps[4].Amount != "100.00" || s.Steps[7].Name != "overShared" || s.Steps[7].Amount != "40.00" || len(s.Shares) != 2 || s.Shares[0].State != "SETTLED" {
			t.Errorf("over: %+v", s)
		}
		must2(r, r.FreezeSeller, testApp, SellerAct{Act: r.act(), SellerID: "S1"})
		check("frozen", "the seller is frozen since 2026-03-01T02:00:00Z", "shares exceed by", "file T-2 (id ", failed)
		must2(r, r.RevokeBinding, b, r.act())
		check("revoked", "the newest binding in CNH, B-1, is REVOKED: revoked: because of the test", "the seller is frozen", "shares exceed by", "file T-2 (id ", failed)
		must2(r, r.DisableApp, testApp, r.act())
		check("disabled", "the app is disabled", "the newest binding", "the seller is frozen", "shares exceed by", "file T-2 (id ", failed)
		r.verify()
	})
}

func TestTraceSellerEverythingReturned(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		r.confirmed("B-1", "S1")
		must(r, r.AddDeposit, r.newDeposit("BANK 1", "500"))
		for _, rows := range []string{ // at once, and one after the other
			tradeRow("S1", "BED", "10:00:00", "100.00", "") + tradeRow("S1", "BED", "11:00:00", "-100.00", ""),
			tradeRow("S1", "LAMP", "10:00:00", "100.00", ""), tradeRow("S1", "LAMP", "11:00:00", "-100.00", ""),
		} {
			r.file(fmt.Sprint("T-", r.n.Add(1)), tradeHeader+rows)
			if s := must(r, r.TraceSeller, TraceSeller{testApp, "S1", "CNH"}); s.Available == "0.00" && !slices.Equal(s.Why, []string{"everything filed was returned"}) {
				t.Errorf("%q", s.Why)
			}
		}
		for i := range tracedFiles {
			r.file(fmt.Sprint("X-", i), tradeHeader+tradeRow("S1", fmt.Sprint("RUG-", i), "10:00:00", "1.00", "TN-1"))
		}
		if s := must(r, r.TraceSeller, TraceSeller{testApp, "S1", "CNH"}); len(s.Files) != tracedFiles || s.MoreFiles != 3 || s.Files[0].RequestNo != "X-19" {
			t.Errorf("files %d and %d more", len(s.Files), s.MoreFiles)
		}
		for i := range tracedShares + 1 {
			r.share(fmt.Sprint("R-", i), "1.00")
		}
		if s := must(r, r.TraceSeller, TraceSeller{testApp, "S1", "CNH"}); len(s.Shares) != tracedShares || !s.MoreShares {
			t.Errorf("shares %d, more %v", len(s.Shares), s.MoreShares)
		}
		if s := must(r, r.TraceShare, TraceShare{testApp, "R-0"}); len(s.Files) != tracedFiles || s.MoreFiles != 2 || s.FiledShipped != "20.00" || s.Files[0].Shipped != "1.00" {
			t.Errorf("files %d and %d more", len(s.Files), s.MoreFiles)
		}
	})
}

func TestTraceShare(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true, CapBasisPoints: new(int64(5000))})
		r.confirmed("B-1", "S1")
		must(r, r.AddDeposit, r.newDeposit("BANK 1", "500"))
		r.file("T-1", tradeHeader+tradeRow("S1", "LAMP", "10:00:00", "100.00", ""))
		r.file("T-2", tradeHeader+tradeRow("S1", "LAMP", "10:00:00", "100.00", "TN-1")+tradeRow("S1", "BED", "10:00:00", "50.00", ""))
		r.share("R-1", "30.00")
		must(r, r.AdvanceClock, hours(1))
		r.file("T-3", tradeHeader+tradeRow("S1", "RUG", "10:00:00", "7.00", "TN-1"))
		before := must(r, r.TraceShare, TraceShare{testApp, "R-1"})
		if before.Share.State != "HELD" || len(before.Postings) != 0 {
			t.Errorf("held: %+v", before)
		}
		r.due(op.SettleQueue, r.e.Settle)
		s := must(r, r.TraceShare, TraceShare{testApp, "R-1"})
		if s.Refused != nil || s.Share.State != "SETTLED" || s.Binding.RequestNo != "B-1" || s.Why != "when it was accepted, the trades allowed 75.00 (cap 50.00 %), of which it and the shares before it took 30.00" ||
			s.FiledShipped != "100.00" || s.FiledUnshipped != "50.00" || s.MoreFiles != 0 || len(s.Files) != 2 {
			t.Errorf("share: %+v", s)
		}
		slices.SortFunc(s.Files, func(a, b DrawnFile) int { return cmp.Compare(a.RequestNo, b.RequestNo) }) // both of one millisecond
		if f := s.Files; f[0].RequestNo != "T-1" || f[0].Shipped != "0.00" || f[0].Unshipped != "100.00" || f[1].Shipped != "100.00" || f[1].Unshipped != "-50.00" {
			t.Errorf("files: %+v", f)
		}
		if p := s.Postings; len(p) != 2 || p[0].To.Kind != "seller" || p[1].To.Kind != "used" || p[1].Amount != "30.00" || p[0].RecordID != s.Share.ID {
			t.Errorf("postings: %+v", p)
		}
		for i := range 3 { // more than it looks back
			must(r, r.AdvanceClock, hours(1))
			r.file(fmt.Sprint("T-", 4+i), tradeHeader+tradeRow("S1", fmt.Sprint("POT-", i), "10:00:00", "1.00", "TN-1")+tradeRow("S1", fmt.Sprint("PAN-", i), "10:00:00", "1.00", ""))
		}
		var far TracedShare
		err := r.e.DB.Read(r.Context(), func(q *pgdb.Queries) (err error) {
			far, err = traceShare(r.Context(), q, TraceShare{testApp, "R-1"}, 3)
			return err
		})
		if err != nil || !far.Beyond || far.FiledShipped != "" || far.FiledUnshipped != "" || len(far.Files) != 0 || !strings.Contains(far.Why, "more than 3 postings") || s.Beyond {
			t.Errorf("far back: %+v %v", far, err)
		}
		if code := r.refusedShare("R-2", "90.00"); code != infinia.OverAvailableShare {
			t.Errorf("too much is answered %s", code)
		}
		if s := must(r, r.TraceShare, TraceShare{testApp, "R-2"}); s.Share != nil || s.Refused == nil || s.Refused.Code != "BIZ-005" || len(s.Refused.Fields) != 1 || s.Refused.Fields[0].Field != "amount" || len(s.Files) != 0 {
			t.Errorf("refused: %+v", s)
		}
	})
}
