package infinia_test

import (
	"context"
	"crypto/rsa"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"

	_ "modernc.org/sqlite"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/infiniatest"
)

// The examples call a sandbox that each of them starts. Its Client is an ordinary one; see [infinia.NewClient].

func ExampleNewClient() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	// Keys come in files, such as client_private.pem and platform_public.pem.
	private, public := envelope.MarshalPrivateKey(sandbox.ClientKey), envelope.MarshalPublicKey(sandbox.PlatformKey)

	key, err := envelope.ParsePrivateKey(private)
	if err != nil {
		log.Fatal(err)
	}
	platformKey, err := envelope.ParsePublicKey(public)
	if err != nil {
		log.Fatal(err)
	}
	// In production, leave the base URL away:
	//
	//	client, err := infinia.NewClient(appID, key, []*rsa.PublicKey{platformKey})
	client, err := infinia.NewClient(sandbox.AppID, key, []*rsa.PublicKey{platformKey}, infinia.WithBaseURL(sandbox.BaseURL))
	if err != nil {
		log.Fatal(err)
	}

	balance, err := client.AccountBalance(context.Background(), infinia.AccountBalanceRequest{Currency: "CNH"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(balance.TotalBalance)
	// Output: 0.00
}

func ExampleClient_AccountBinding() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()

	reply, err := sandbox.Client.AccountBinding(context.Background(), infinia.AccountBindingRequest{
		RequestNo:    "ABR-20250903-0001",
		SellerID:     "SELLER-123456",
		SellerCertNo: "91310108MA1KXXXXXX",
		SellerName:   "Acme Trading Ltd.",
		StoreName:    "Acme Official Store",
		StoreURL:     "https://store.example.com/acme",
		EntityType:   "Corporate",
		Country:      "CHN",
		Currency:     "CNH",
		Note:         "First-time binding",
		BacklinkURL:  "https://merchant.example.com/seller/SELLER-123456",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.Status)

	// Redirect the seller's browser to the hosted page. Here the sandbox plays the seller.
	sandbox.Confirm(reply.RedirectURL)
	// Output: PROCESSING
}

func ExampleClient_AccountBindingQuery() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-123456", "CNH")

	binding, err := sandbox.Client.AccountBindingQuery(context.Background(), infinia.AccountBindingQueryRequest{
		SellerID: "SELLER-123456",
		Currency: "CNH",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(binding.Status, binding.SellerStatus)
	// Output: SUCCESS ACTIVE
}

func ExampleClient_TradeDetailsQuery() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-123456", "CNH")
	sandbox.UploadTrades("TDU-20250903-0001", // by SFTP, as /upload/TDU-20250903-0001.csv
		infiniatest.Trade{SellerID: "SELLER-123456", Currency: "CNH", Amount: "1200.00"},
		infiniatest.Trade{SellerID: "SELLER-123456", Currency: "CNH", Amount: "800.00"})

	file, err := sandbox.Client.TradeDetailsQuery(context.Background(), infinia.TradeDetailsQueryRequest{RequestNo: "TDU-20250903-0001"})
	if err != nil {
		log.Fatal(err)
	}
	switch file.Status {
	case infinia.FileProcessing:
		fmt.Println("ask again later")
	case infinia.FileSuccess:
		fmt.Println(file.AcceptedRows, "of", file.TotalRows, "rows accepted")
	case infinia.FileFailed, infinia.FilePartial:
		fmt.Println(file.FailReason, file.ErrorFileURL)
	}
	// Output: 2 of 2 rows accepted
}

func ExampleClient_AccountBalance() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.Deposit("CNH", "5000.00")

	balance, err := sandbox.Client.AccountBalance(context.Background(), infinia.AccountBalanceRequest{Currency: "CNH"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(balance.AvailableBalance, "available,", balance.FrozenBalance, "held for shares in process")
	// Output: 5000.00 available, 0.00 held for shares in process
}

func ExampleClient_AvailableRevenue() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-123456", "CNH")
	sandbox.UploadTrades("TDU-1", infiniatest.Trade{SellerID: "SELLER-123456", Currency: "CNH", Amount: "1200.00"})

	revenue, err := sandbox.Client.AvailableRevenue(context.Background(), infinia.AvailableRevenueRequest{
		SellerID: "SELLER-123456",
		Currency: "CNH",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(revenue.AvailableAmount)
	// Output: 1200.00
}

func ExampleClient_RevenueSharing() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-123456", "CNH")
	sandbox.Deposit("CNH", "5000.00")
	sandbox.UploadTrades("TDU-1", infiniatest.Trade{SellerID: "SELLER-123456", Currency: "CNH", Amount: "1200.00"})

	share, err := sandbox.Client.RevenueSharing(context.Background(), infinia.RevenueSharingRequest{
		RequestNo: "RSR-20250903-0001",
		SellerID:  "SELLER-123456",
		Currency:  "CNH",
		Amount:    "1000",
		Note:      "September",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(share.Amount, share.Status) // the money is held; RevenueSharingQuery tells the end
	// Output: 1000.00 PROCESSING
}

func ExampleClient_RevenueSharingQuery() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-123456", "CNH")
	sandbox.Deposit("CNH", "5000.00")
	sandbox.UploadTrades("TDU-1", infiniatest.Trade{SellerID: "SELLER-123456", Currency: "CNH", Amount: "1200.00"})
	ctx := context.Background()
	if _, err := sandbox.Client.RevenueSharing(ctx, infinia.RevenueSharingRequest{
		RequestNo: "RSR-20250903-0001", SellerID: "SELLER-123456", Currency: "CNH", Amount: "1000.00",
	}); err != nil {
		log.Fatal(err)
	}
	sandbox.WaitForShare("RSR-20250903-0001")

	share, err := sandbox.Client.RevenueSharingQuery(ctx, infinia.RevenueSharingQueryRequest{RequestNo: "RSR-20250903-0001"})
	if err != nil {
		log.Fatal(err)
	}
	switch share.Status {
	case infinia.ShareProcessing:
		fmt.Println("ask again later")
	case infinia.ShareSuccess:
		fmt.Println("the seller has", share.Amount, share.Currency)
	case infinia.ShareFailed:
		fmt.Println(share.FailCode, share.FailReason)
	}
	// Output: the seller has 1000.00 CNH
}

func ExampleClient_Call() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()

	reply, err := sandbox.Client.Call(context.Background(), infinia.OpAccountBalance, []byte(`{"currency":"JPY"}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(reply))
	// Output: {"currency":"JPY","availableBalance":"0","frozenBalance":"0","totalBalance":"0"}
}

// A refusal names every wrong field at once.
func ExampleError() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()

	_, err := sandbox.Client.RevenueSharing(context.Background(), infinia.RevenueSharingRequest{
		RequestNo: "RSR-1",
		Currency:  "CNH",
		Amount:    "12,50",
	})
	var refused *infinia.Error
	if !errors.As(err, &refused) {
		log.Fatal(err) // it was not refused: the network failed, say
	}
	for _, f := range refused.Fields {
		fmt.Println(f.Code, f.Field, f.Message)
	}
	fmt.Println(refused.Code, refused.Code.Remedy())
	// Output:
	// SYS-004 sellerId is mandatory
	// SYS-005 amount must be a decimal number such as 100.00
	// SYS-002 mend the fields that the answer names
}

// After a call without a trustworthy answer nobody knows whether the money moved. The same request under the same requestNo
// finds out, and moves it once at most.
func ExampleErrOutcomeUnknown() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-123456", "CNH")
	sandbox.Deposit("CNH", "5000.00")
	sandbox.UploadTrades("TDU-1", infiniatest.Trade{SellerID: "SELLER-123456", Currency: "CNH", Amount: "1200.00"})
	sandbox.LoseReplies(infinia.OpRevenueSharing, 3) // the first try and both retries

	ctx := context.Background()
	req := infinia.RevenueSharingRequest{RequestNo: "RSR-1", SellerID: "SELLER-123456", Currency: "CNH", Amount: "1000.00"}
	_, err := sandbox.Client.RevenueSharing(ctx, req)
	fmt.Println("unknown:", errors.Is(err, infinia.ErrOutcomeUnknown))

	// Later, from what the program stored before its first call:
	share, err := sandbox.Client.RevenueSharing(ctx, req)
	if err != nil {
		log.Fatal(err)
	}
	balance, err := sandbox.Client.AccountBalance(ctx, infinia.AccountBalanceRequest{Currency: "CNH"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(share.RequestNo, "has taken", share.Amount, "and left", balance.AvailableBalance)
	// Output:
	// unknown: true
	// RSR-1 has taken 1000.00 and left 4000.00
}

func ExampleNewWebhookHandler() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-123456", "CNH")

	handler := infinia.NewWebhookHandler(sandbox.AppID, []envelope.PrivateKey{sandbox.ClientKey}, []*rsa.PublicKey{sandbox.PlatformKey},
		func(_ context.Context, n infinia.Notification) error {
			fmt.Println(n.SellerID, "is", n.Status)
			return nil
		})
	app := httptest.NewServer(handler) // or http.Handle("/infinia", handler)
	defer app.Close()
	sandbox.SetSettings(infiniatest.Settings{CallbackURL: app.URL})

	sandbox.Freeze("SELLER-123456")
	// Output: SELLER-123456 is FROZEN
}

// handledOnce is a Deduplicator over the program's own database: what a notification changes and that it was handled are
// committed together.
type handledOnce struct{ db *sql.DB }

func (h handledOnce) Once(ctx context.Context, requestNo string, handle func(context.Context) error) error {
	tx, err := h.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	inserted, err := tx.ExecContext(ctx, `INSERT INTO handled (request_no) VALUES (?) ON CONFLICT DO NOTHING`, requestNo)
	if err != nil {
		return err
	}
	if n, err := inserted.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if err := handle(context.WithValue(ctx, inTx{}, tx)); err != nil {
		return err
	}
	return tx.Commit()
}

// inTx is the context key of the transaction that handle works in.
type inTx struct{}

func ExampleDeduplicator() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-123456", "CNH")
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE handled (request_no TEXT PRIMARY KEY); CREATE TABLE seller (id TEXT PRIMARY KEY, status TEXT)`); err != nil {
		log.Fatal(err)
	}

	handler := infinia.NewWebhookHandler(sandbox.AppID, []envelope.PrivateKey{sandbox.ClientKey}, []*rsa.PublicKey{sandbox.PlatformKey},
		func(ctx context.Context, n infinia.Notification) error {
			tx := ctx.Value(inTx{}).(*sql.Tx)
			_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO seller VALUES (?, ?)`, n.SellerID, n.Status)
			return err
		}, infinia.WithDeduplicator(handledOnce{db}))
	app := httptest.NewServer(handler)
	defer app.Close()
	sandbox.SetSettings(infiniatest.Settings{CallbackURL: app.URL})

	sandbox.Freeze("SELLER-123456")
	var status string
	if err := db.QueryRow(`SELECT status FROM seller`).Scan(&status); err != nil {
		log.Fatal(err)
	}
	fmt.Println(status)
	// Output: FROZEN
}
