package infiniatest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/infiniatest"
)

// A test calls New(t) instead of Start, and has nothing to close.
func Example() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-1", "CNH")
	sandbox.Deposit("CNH", "5000.00")
	sandbox.UploadTrades("TDU-1",
		infiniatest.Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "1200.00"},
		infiniatest.Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "800.00"})

	_, err := sandbox.Client.RevenueSharing(context.Background(), infinia.RevenueSharingRequest{
		RequestNo: "RSR-1", SellerID: "SELLER-1", Currency: "CNH", Amount: "1500.00",
	})
	if err != nil {
		log.Fatal(err)
	}
	share := sandbox.WaitForShare("RSR-1")
	fmt.Println(share.Status, share.Amount)

	sandbox.Verify()
	// Output: SUCCESS 1500.00
}

func ExampleWithSettings() {
	sandbox := infiniatest.Start(infiniatest.WithSettings(infiniatest.Settings{CapBasisPoints: 3000})) // 30 %
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-1", "CNH")
	sandbox.UploadTrades("TDU-1", infiniatest.Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "1200.00"})

	revenue, err := sandbox.Client.AvailableRevenue(context.Background(), infinia.AvailableRevenueRequest{SellerID: "SELLER-1", Currency: "CNH"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(revenue.AvailableAmount)
	// Output: 360.00
}

// A return takes back what its order has sold.
func ExampleSandbox_UploadTrades() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-1", "CNH")

	sandbox.UploadTrades("TDU-1", infiniatest.Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "1200.00", OrderID: "PI-1001"})
	sandbox.UploadTrades("TDU-2", infiniatest.Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "-200.00", OrderID: "PI-1001"})

	revenue, err := sandbox.Client.AvailableRevenue(context.Background(), infinia.AvailableRevenueRequest{SellerID: "SELLER-1", Currency: "CNH"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(revenue.AvailableAmount)
	// Output: 1000.00
}

// A webhook that fails comes again a minute later, by the sandbox's clock.
func ExampleSandbox_Webhooks() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	sandbox.BindSeller("SELLER-1", "CNH")
	tries := 0
	sandbox.Webhooks(func(_ context.Context, n infinia.Notification) error {
		tries++
		fmt.Printf("try %d: %s is %s\n", tries, n.SellerID, n.Status)
		if tries == 1 {
			return errors.New("the database is away")
		}
		return nil
	})

	sandbox.Freeze("SELLER-1")
	sandbox.Advance(time.Minute)
	// Output:
	// try 1: SELLER-1 is FROZEN
	// try 2: SELLER-1 is FROZEN
}

// A binding fails when the seller does not confirm it within 7 days.
func ExampleSandbox_Advance() {
	sandbox := infiniatest.Start()
	defer sandbox.Close()
	ctx := context.Background()
	if _, err := sandbox.Client.AccountBinding(ctx, infinia.AccountBindingRequest{
		RequestNo: "ABR-1", SellerID: "SELLER-1", SellerCertNo: "91310108MA1KXXXXXX", SellerName: "Acme Trading Ltd.",
		StoreName: "Acme Official Store", StoreURL: "https://store.example.com/acme", EntityType: "Corporate", Country: "CHN", Currency: "CNH",
	}); err != nil {
		log.Fatal(err)
	}

	sandbox.Advance(7 * 24 * time.Hour)
	binding, err := sandbox.Client.AccountBindingQuery(ctx, infinia.AccountBindingQueryRequest{RequestNo: "ABR-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(binding.Status, binding.FailReason)
	// Output: FAILED expired: the seller did not confirm in time
}
