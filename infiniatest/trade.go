package infiniatest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/trade"
)

// Trade is a row of a trade file. Seller, currency and amount are enough; the rest is made up.
type Trade struct {
	SellerID string
	Currency string
	Amount   string // decimal; below zero: a return of what was sold by that OrderID and SKU
	Shipped  bool

	OrderID string    // default: the file's requestNo, a hyphen, and the row's number from 1
	SKU     string    // default: SKU-1
	Time    time.Time // default: noon of 2026-01-15, UTC
}

// UploadTrades files trades as requestNo, by SFTP, and returns the query's reply when the file was judged. Why rows were
// refused is in the log.
func (s *Sandbox) UploadTrades(requestNo string, trades ...Trade) infinia.TradeDetailsQueryReply {
	s.t.Helper()
	content, err := tradeFile(requestNo, trades)
	s.must("upload "+requestNo, err)
	return s.UploadCSV(requestNo, content)
}

// UploadCSV is UploadTrades with a file of any content.
func (s *Sandbox) UploadCSV(requestNo string, content []byte) infinia.TradeDetailsQueryReply {
	s.t.Helper()
	s.must("upload "+requestNo, s.box.Upload(context.Background(), requestNo+".csv", content))
	hash := sha256.Sum256(content)
	s.wait("judging of trade file "+requestNo, func() (bool, error) { return s.judged(requestNo, hex.EncodeToString(hash[:])) })
	return s.WaitForTrades(requestNo)
}

// WaitForTrades waits until a file that was uploaded has been judged.
func (s *Sandbox) WaitForTrades(requestNo string) infinia.TradeDetailsQueryReply {
	s.t.Helper()
	var reply infinia.TradeDetailsQueryReply
	s.wait("judging of trade file "+requestNo, func() (_ bool, err error) {
		reply, err = s.Client.TradeDetailsQuery(context.Background(), infinia.TradeDetailsQueryRequest{RequestNo: requestNo})
		if isCode(err, infinia.NotFound) { // the upload was not taken over yet
			return false, nil
		}
		return reply.Status != infinia.FileProcessing, err
	})
	s.drain() // the result files, and the webhook if there is one
	return reply
}

// judged says whether this very content was judged, or dropped since another stands. The query alone does not tell: it may
// still speak of the attempt before.
func (s *Sandbox) judged(requestNo, hash string) (bool, error) {
	found, err := s.box.Admin.Files(context.Background(), admin.FilesFilter{AppID: s.AppID, RequestNo: requestNo})
	if err != nil || len(found.Items) == 0 {
		return false, err
	}
	newest := found.Items[0]
	if newest.Status == string(infinia.FileProcessing) {
		return false, nil
	}
	if newest.SHA256 == hash {
		return true, s.logRefused(newest)
	}
	detail, err := s.box.Admin.File(context.Background(), newest.ID)
	return slices.ContainsFunc(detail.Refused, func(r admin.RefusedUpload) bool { return r.SHA256 == hash }), err
}

func (s *Sandbox) logRefused(f admin.File) error {
	if f.FailReason != "" {
		s.log.Warn("trade file refused", "requestNo", f.RequestNo, "why", f.FailReason)
	}
	if f.RejectedRows == 0 {
		return nil
	}
	file, err := s.box.Admin.FileErrors(context.Background(), f.ID)
	if err != nil {
		return err
	}
	defer file.Close()
	rows := csv.NewReader(file)
	rows.FieldsPerRecord = -1
	records, err := rows.ReadAll()
	if err != nil {
		return err
	}
	for _, r := range records[1:] {
		if n := len(r); r[n-2] != "0" {
			s.log.Warn("trade refused", "requestNo", f.RequestNo, "line", r[n-3], "why", r[n-1])
		}
	}
	return nil
}

// tradeFile writes the 19 columns.
func tradeFile(requestNo string, trades []Trade) ([]byte, error) {
	var header []string
	for _, c := range trade.Columns() {
		header = append(header, c.Name)
	}
	records := [][]string{header}
	for i, t := range trades {
		if t.OrderID == "" {
			t.OrderID = fmt.Sprintf("%s-%d", requestNo, i+1)
		}
		if t.SKU == "" {
			t.SKU = "SKU-1"
		}
		if t.Time.IsZero() {
			t.Time = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
		}
		shipping := []string{"Not Shipped", t.Time.Add(72 * time.Hour).Format(time.RFC3339), "", "", ""}
		if t.Shipped {
			shipping = []string{"Shipped", "", "SF-" + t.OrderID, "SF Express", t.Time.Add(24 * time.Hour).Format(time.RFC3339)}
		}
		records = append(records, slices.Concat(
			[]string{t.SellerID, t.OrderID, t.SKU, t.Time.Format(time.RFC3339), t.Currency, t.Amount},
			[]string{"001", "Desk lamp", "1", strings.TrimPrefix(t.Amount, "-")},
			shipping,
			[]string{"USA", "https://store.example.com/acme", "", ""}))
	}
	var file bytes.Buffer
	err := csv.NewWriter(&file).WriteAll(records)
	return file.Bytes(), err
}
