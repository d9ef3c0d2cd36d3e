package server

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// rig is a sandbox with short keys, and shorthand for what its app, its seller and its operator do over the wire. Only the
// clock is moved from within.
type rig struct {
	*Sandbox
	t        testing.TB
	dir      string      // the data folder
	database string      // a postgres:// URL; empty: the file in the data folder
	process  *os.Process // of a server elsewhere
	acts     int
}

const (
	seller   = "SELLER-1"
	currency = "CNH"
)

// start brings up a sandbox whose app approves by itself and may call as often as it likes.
func start(t testing.TB, engine storetest.Engine, set store.Settings) *rig {
	t.Helper()
	return startConfig(t, testConfig(t, engine, set))
}

// testConfig has a folder of its own, and a database of its own.
func testConfig(t testing.TB, engine storetest.Engine, set store.Settings) SandboxConfig {
	t.Helper()
	set.AutoApprove, set.BlocksPerSecond = true, 1e6
	return SandboxConfig{
		Config: Config{Data: t.TempDir(), Database: databaseOf(t, engine), HTTP: "127.0.0.1:0", SFTP: "127.0.0.1:0", CallsPerSecond: 1e6, Log: testLog(t)},
		AppID:  "demo", Settings: set, ClientKey: testKey(t, "client-2048"), PlatformKey: testKey(t, "platform-2048"),
	}
}

// databaseOf is what Config names as an empty database.
func databaseOf(t testing.TB, engine storetest.Engine) string {
	t.Helper()
	if engine == storetest.SQLite {
		return "" // the file in the data folder
	}
	return engine.New(t)
}

func startConfig(t testing.TB, cfg SandboxConfig) *rig {
	t.Helper()
	box, err := StartSandbox(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Sandbox: box, t: t, dir: cfg.Data, database: cfg.Database}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	r.t.Helper()
	if err := r.Close(context.Background()); err != nil {
		r.t.Error(err)
	}
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func testKey(t testing.TB, name string) *rsa.PrivateKey {
	t.Helper()
	text, err := os.ReadFile("../../envelope/testdata/keys/test-" + name + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	key, err := envelope.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// must is what a call has to answer.
func must[A any](answer A, err error) func(t testing.TB) A {
	return func(t testing.TB) A {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

// code is the code of a refusal with the fields that it names, such as "BIZ-001 amount"; empty when there is none.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*infinia.Error](err)
	if !ok {
		t.Fatal(err)
	}
	text := string(e.Code)
	for _, f := range e.Fields {
		text += " " + f.Field
	}
	return text
}

// fetch gets what is at an address of the server, as an operator when it has a token.
func (r *rig) fetch(url, token string) string {
	r.t.Helper()
	status, content := fetchStatus(r.t, url, token)
	if status != http.StatusOK {
		r.t.Fatalf("%s: %d %s", url, status, content)
	}
	return content
}

func fetchStatus(t testing.TB, url, token string) (status int, content string) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))(t)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp := must(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body))(t))
}

func (r *rig) act() admin.Act {
	r.acts++
	return admin.Act{Reference: fmt.Sprintf("act-%d", r.acts), Reason: "test"}
}

// bind binds a seller: request, page, confirmation.
func (r *rig) bind(sellerID string) {
	r.t.Helper()
	rep := must(r.Client.AccountBinding(r.t.Context(), infinia.AccountBindingRequest{
		RequestNo: "ABR-" + sellerID, SellerID: sellerID, SellerCertNo: "91310108MA1KXXXXXX", SellerName: "Acme Trading Ltd.", StoreName: "Acme",
		StoreURL: "https://store.example.com/acme", EntityType: "Corporate", Country: "CHN", Currency: currency,
	}))(r.t)
	if err := r.AnswerBinding(r.t.Context(), rep.RedirectURL, "confirm"); err != nil {
		r.t.Fatal(err)
	}
	state := must(r.Client.AccountBindingQuery(r.t.Context(), infinia.AccountBindingQueryRequest{RequestNo: rep.RequestNo}))(r.t)
	if state.Status != infinia.BindingSuccess {
		r.t.Fatalf("binding is %s", state.Status)
	}
}

// sale is a row of a trade file; a negative amount is a return.
func sale(sellerID, orderID, amount string) string {
	return fmt.Sprintf("%s,%s,SKU-1,2026-02-01 10:00:00,CNH,%s,001,Lamp,1,%s,Shipped,,SF1,SF Express,2026-02-02 09:00:00,USA,https://store.example.com/acme,,\n",
		sellerID, orderID, amount, strings.TrimPrefix(amount, "-"))
}

const heading = "sellerId,orderId,sku,transactionTime,transactionCurrency,transactionAmount,productType,productName,productQuantity," +
	"productUnitPrice,shippingStatus,estimatedShippingTime,logisticsTrackingNo,logisticsCompany,shippingTime,country,storeUrl,buyerName,buyerAddress\n"

// file uploads a trade file and waits for its judgement.
func (r *rig) file(requestNo string, rows ...string) infinia.TradeDetailsQueryReply {
	r.t.Helper()
	if err := r.Upload(r.t.Context(), requestNo+".csv", []byte(heading+strings.Join(rows, ""))); err != nil {
		r.t.Fatal(err)
	}
	return r.judged(requestNo, 1)
}

// judged waits until an attempt at a file has ended.
func (r *rig) judged(requestNo string, attempt int) (rep infinia.TradeDetailsQueryReply) {
	r.t.Helper()
	storetest.Until(r.t, "the judgement of "+requestNo, func() bool {
		var err error
		rep, err = r.Client.TradeDetailsQuery(r.t.Context(), infinia.TradeDetailsQueryRequest{RequestNo: requestNo})
		return code(r.t, err) == "" && rep.Status != infinia.FileProcessing && rep.Attempt == fmt.Sprint(attempt)
	})
	return rep
}

// fund binds the seller, files trades of an amount and deposits another.
func (r *rig) fund(trades, deposit string) {
	r.t.Helper()
	r.bind(seller)
	if rep := r.file("TDU-fund", sale(seller, "ORDER-fund", trades)); rep.Status != infinia.FileSuccess {
		r.t.Fatalf("trade file: %+v", rep)
	}
	r.deposit(deposit)
}

func (r *rig) deposit(amount string) admin.Deposit {
	r.t.Helper()
	a := r.act()
	return must(r.Admin.AddDeposit(r.t.Context(), admin.NewDeposit{Act: a, AppID: r.File.AppID, Currency: currency, Amount: amount,
		BankReference: "BANK-" + a.Reference, ValueDate: "2026-02-03", Payer: "Demo Marketplace"}))(r.t)
}

// share asks for a share and returns the refusal's code, if any.
func (r *rig) share(requestNo, amount string) (infinia.ShareStatus, string) {
	r.t.Helper()
	rep, err := r.Client.RevenueSharing(r.t.Context(), infinia.RevenueSharingRequest{RequestNo: requestNo, SellerID: seller, Currency: currency, Amount: amount})
	return rep.Status, code(r.t, err)
}

// ended waits until a share is no longer in process.
func (r *rig) ended(requestNo string) (rep infinia.RevenueSharingQueryReply) {
	r.t.Helper()
	storetest.Until(r.t, "the end of "+requestNo, func() bool {
		rep = must(r.Client.RevenueSharingQuery(r.t.Context(), infinia.RevenueSharingQueryRequest{RequestNo: requestNo}))(r.t)
		return rep.Status != infinia.ShareProcessing
	})
	return rep
}

// shares are all the shares there are.
func (r *rig) shares() (all []admin.Share) {
	r.t.Helper()
	f := admin.SharesFilter{Page: admin.Page{Most: 500}, AppID: r.File.AppID}
	for {
		page := must(r.Admin.Shares(r.t.Context(), f))(r.t)
		all = append(all, page.Items...)
		if page.Next == "" {
			return all
		}
		f.Before = page.Next
	}
}

func (r *rig) allEnded() {
	r.t.Helper()
	storetest.Until(r.t, "the end of all shares", func() bool {
		return len(must(r.Admin.Shares(r.t.Context(), admin.SharesFilter{Page: admin.Page{Most: 1}, State: "HELD"}))(r.t).Items) == 0
	})
}

// balance is what the app sees of the platform's account: available, frozen.
func (r *rig) balance() string {
	r.t.Helper()
	rep := must(r.Client.AccountBalance(r.t.Context(), infinia.AccountBalanceRequest{Currency: currency}))(r.t)
	return rep.AvailableBalance + " " + rep.FrozenBalance
}

// available is what the app sees of the seller's entitlement: available, trades, shared, in process, shared too much.
func (r *rig) available() string {
	r.t.Helper()
	rep := must(r.Client.AvailableRevenue(r.t.Context(), infinia.AvailableRevenueRequest{SellerID: seller, Currency: currency}))(r.t)
	return strings.Join([]string{rep.AvailableAmount, rep.TradeAmount, rep.SharedAmount, rep.ProcessingAmount, rep.OverSharedAmount}, " ")
}

// verify has the books checked by code that shares nothing with the engine.
func (r *rig) verify() {
	r.t.Helper()
	v := must(r.Admin.Verify(r.t.Context()))(r.t)
	if !v.Sound {
		r.t.Errorf("the books do not add up: %v", v.Faults)
	}
	if v.Accounts == 0 || v.Postings == 0 {
		r.t.Errorf("nothing was verified: %+v", v)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}
