package infiniatest

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
)

// Nothing of a sandbox outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Many at once do not meet, though they share keys, appId and every number in them.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			amount := fmt.Sprintf("%d.00", 100+i)
			s := New(t)
			told := 0
			s.Webhooks(func(context.Context, infinia.Notification) error { told++; return nil })
			s.BindSeller("SELLER-1", "CNH")
			s.Deposit("CNH", amount)
			if file := s.UploadTrades("TDU-1", Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: amount}); file.Status != infinia.FileSuccess {
				t.Errorf("the file: %+v", file)
			}
			share(t, s, "RSR-1", amount)
			if got := s.WaitForShare("RSR-1"); got.Status != infinia.ShareSuccess || got.Amount != amount {
				t.Errorf("the share: %+v", got)
			}
			s.Freeze("SELLER-1")
			s.Resume("SELLER-1")
			if told != 2 {
				t.Errorf("%d webhooks, want 2", told)
			}
			s.Verify()
		})
	}
}

func TestBindings(t *testing.T) {
	t.Parallel()
	s := New(t, WithSettings(Settings{ReviewBindings: true}))
	for seller, tt := range map[string]struct {
		act    func(link string)
		status infinia.BindingStatus
		reason string
	}{
		"waits":    {func(link string) { s.Confirm(link) }, infinia.BindingProcessing, ""},
		"declined": {func(link string) { s.Decline(link) }, infinia.BindingFailed, "declined by the seller"},
		"approved": {func(link string) { s.Confirm(link); s.Approve("approved", "CNH") }, infinia.BindingSuccess, ""},
		"rejected": {func(link string) { s.Confirm(link); s.Reject("rejected", "CNH", "no such store") }, infinia.BindingFailed, "no such store"},
		"revoked": {func(link string) {
			s.Confirm(link)
			s.Approve("revoked", "CNH")
			s.Revoke("revoked", "CNH", "the licence ended")
		}, infinia.BindingRevoked, "the licence ended"},
		"expired": {func(string) { s.Advance(7 * 24 * time.Hour) }, infinia.BindingFailed, "expired: "},
	} {
		reply, err := s.Client.AccountBinding(t.Context(), infinia.AccountBindingRequest{RequestNo: "ABR-" + seller, SellerID: seller, SellerCertNo: seller,
			SellerName: "Acme", StoreName: "Acme", StoreURL: "https://store.example.com", EntityType: "Individual", Country: "CHN", Currency: "CNH"})
		if err != nil {
			t.Fatal(err)
		}
		tt.act(reply.RedirectURL)
		got, err := s.Client.AccountBindingQuery(t.Context(), infinia.AccountBindingQueryRequest{SellerID: seller, Currency: "CNH"})
		if err != nil || got.Status != tt.status || !strings.Contains(got.FailReason, tt.reason) {
			t.Errorf("%s: %+v, %v", seller, got, err)
		}
	}
	s.BindSeller("SELLER-1", "CNH")
	s.BindSeller("SELLER-1", "CNH") // nothing to do
	s.BindSeller("SELLER-1", "USD")
}

// The reply is always about the content just uploaded, or about the one that stands against it.
func TestUploadAgain(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	s := New(t)
	s.log = warnings(&log)
	row := Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "10.00"}
	for i, tt := range []struct {
		amount, status, attempt string
		before                  func()
	}{
		{amount: "10.00", status: "FAILED", attempt: "1"},
		{amount: "10.00", status: "FAILED", attempt: "1"},
		{amount: "11.00", status: "FAILED", attempt: "2"},
		{amount: "12.00", status: "SUCCESS", attempt: "3", before: func() { s.BindSeller("SELLER-1", "CNH") }},
		{amount: "12.00", status: "SUCCESS", attempt: "3"},
		{amount: "13.00", status: "SUCCESS", attempt: "3"},
	} {
		if tt.before != nil {
			tt.before()
		}
		row.Amount = tt.amount
		if got := s.UploadTrades("TDU-1", row); string(got.Status) != tt.status || got.Attempt != tt.attempt {
			t.Errorf("upload %d: %+v", i+1, got)
		}
	}
	if got := available(t, s); got != "12.00" {
		t.Errorf("available: %s", got)
	}
	if got := s.UploadCSV("TDU-2", []byte("no,trade,file\n")); got.Status != infinia.FileFailed || got.FailReason == "" {
		t.Errorf("no trade file: %+v", got)
	}
	for _, want := range []string{"line=2 why=\"sellerId: ", "requestNo=TDU-2 why="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &log)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := New(t)
	s.BindSeller("SELLER-1", "CNH")
	s.Deposit("CNH", "1000")
	s.UploadTrades("TDU-1", Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "100"}, Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "50", Shipped: true})

	for want, set := range map[string]Settings{"150.00": {}, "75.00": {CapBasisPoints: 5000}, "50.00": {IgnoreUnshipped: true}} {
		if s.SetSettings(set); available(t, s) != want {
			t.Errorf("%+v: %s is available, want %s", set, available(t, s), want)
		}
	}
	limit := map[string]string{"CNH": "1"}
	for name, set := range map[string]Settings{"share": {LimitPerShare: limit}, "seller": {LimitPerSellerDay: limit}, "day": {LimitPerDay: limit}} {
		s.SetSettings(set)
		_, err := s.Client.RevenueSharing(t.Context(), infinia.RevenueSharingRequest{RequestNo: name, SellerID: "SELLER-1", Currency: "CNH", Amount: "2"})
		if !isCode(err, infinia.OverLimit) {
			t.Errorf("limit by %s: %v", name, err)
		}
	}
	s.SetSettings(Settings{Currencies: []string{"USD"}})
	if _, err := s.Client.AccountBalance(t.Context(), infinia.AccountBalanceRequest{Currency: "CNH"}); !isCode(err, infinia.CurrencyNotUsable) {
		t.Errorf("another currency: %v", err)
	}
	s.SetSettings(Settings{AcceptPartial: true})
	if got := s.UploadTrades("TDU-2", Trade{SellerID: "SELLER-1", Currency: "CNH", Amount: "1"}, Trade{SellerID: "nobody", Currency: "CNH", Amount: "1"}); got.Status != infinia.FilePartial {
		t.Errorf("a bad row and a good one: %+v", got)
	}
	s.SetSettings(Settings{SignResponses: true})
	strict, err := infinia.NewClient(s.AppID, s.ClientKey, []*rsa.PublicKey{s.PlatformKey}, infinia.WithBaseURL(s.BaseURL), infinia.RequireSignedResponses())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strict.AccountBalance(t.Context(), infinia.AccountBalanceRequest{Currency: "CNH"}); err != nil {
		t.Errorf("signed answers: %v", err)
	}

	var events []string
	s.SetSettings(Settings{SettleDelay: time.Hour, Events: []string{"share"}})
	s.Webhooks(func(_ context.Context, n infinia.Notification) error { events = append(events, n.Event); return nil })
	share(t, s, "RSR-1", "2")
	if got, err := s.Client.RevenueSharingQuery(t.Context(), infinia.RevenueSharingQueryRequest{RequestNo: "RSR-1"}); err != nil || got.Status != infinia.ShareProcessing {
		t.Errorf("before its time: %+v, %v", got, err)
	}
	s.Advance(time.Hour)
	if got := s.WaitForShare("RSR-1"); got.Status != infinia.ShareSuccess || fmt.Sprint(events) != "[share]" {
		t.Errorf("after its time: %+v, events %v", got, events)
	}
	s.Verify()
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := New(t)
	ask := func() error {
		_, err := s.Client.AccountBalance(t.Context(), infinia.AccountBalanceRequest{Currency: "CNH"})
		return err
	}
	s.Fail(infinia.OpAccountBalance, infinia.Unavailable, 1)
	if err := ask(); err != nil {
		t.Errorf("a fault that one more try mends: %v", err)
	}
	s.Fail(infinia.OpAccountBalance, infinia.InternalFault, 1)
	if err := ask(); !isCode(err, infinia.InternalFault) {
		t.Errorf("a fault: %v", err)
	}
	s.LoseReplies(infinia.OpAccountBalance, 1)
	if err := ask(); err != nil {
		t.Errorf("a lost reply: %v", err)
	}
}

// A program's own SFTP client gets in.
func TestSFTP(t *testing.T) {
	t.Parallel()
	s := New(t)
	s.BindSeller("SELLER-1", "CNH")
	key, err := ssh.ParsePrivateKey(s.SFTPKey)
	if err != nil {
		t.Fatal(err)
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey(s.SFTPHostKey)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ssh.Dial("tcp", s.SFTPAddr, &ssh.ClientConfig{User: s.AppID, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(hostKey)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	content, err := tradeFile("TDU-1", []Trade{{SellerID: "SELLER-1", Currency: "CNH", Amount: "10"}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := client.Create("/upload/TDU-1.csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.Advance(5 * time.Second) // without a rename an upload is whole when it was at rest
	if got := s.WaitForTrades("TDU-1"); got.Status != infinia.FileSuccess {
		t.Errorf("%+v", got)
	}
	if _, err := client.Stat("/result/TDU-1_summary.json"); err != nil {
		t.Error(err)
	}
}

// Methods say what they wanted and why it failed, and after Close nothing is left.
func TestStart(t *testing.T) {
	t.Parallel()
	s := Start()
	for want, call := range map[string]func(){
		"deposit -1 CNH: 4": func() { s.Deposit("CNH", "-1") },
		"freeze nobody: 4":  func() { s.Freeze("nobody") },
		"resume nobody: 4":  func() { s.Resume("nobody") },
		"bind SELLER-1: account-binding/request: SYS-006":        func() { s.BindSeller("SELLER-1", "ZZZ") },
		"approve the binding of nobody in CNH: none is AWAITING": func() { s.Approve("nobody", "CNH") },
		"confirm a binding as the seller: ":                      func() { s.Confirm(s.BaseURL) },
		"advance the clock: 4":                                   func() { s.Advance(-time.Second) },
		"upload ../x: ":                                          func() { s.UploadTrades("../x") },
		"wait for the settlement of share RSR-1: ":               func() { s.WaitForShare("RSR-1") },
		"put a fault on nothing/query: 4":                        func() { s.Fail("nothing/query", infinia.Unavailable, 1) },
		"change the settings: 4":                                 func() { s.SetSettings(Settings{CapBasisPoints: -1}) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "infiniatest: "+want) {
					t.Errorf("%q, want %q", got, want)
				}
			}()
			call()
		}()
	}
	s.Verify() // and it goes on

	s.Close()
	s.Close()
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Client.AccountBalance(ctx, infinia.AccountBalanceRequest{Currency: "CNH"}); err == nil {
		t.Error("somebody answers")
	}
}

// brokenTest is a test that records its end.
type brokenTest struct {
	testing.TB
	fatal string
}

func (b *brokenTest) Helper() {}

func (b *brokenTest) Fatalf(format string, args ...any) {
	b.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	b := &brokenTest{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		New(b, WithKeyBits(512))
	}()
	<-done
	if !strings.HasPrefix(b.fatal, "start a sandbox: crypto/rsa") {
		t.Errorf("%q", b.fatal)
	}
}

// TestInterface: whoever imports this package cannot name what is internal.
func TestInterface(t *testing.T) {
	t.Parallel()
	box := reflect.TypeFor[*Sandbox]()
	types := []reflect.Type{reflect.TypeFor[Settings](), reflect.TypeFor[Trade](), reflect.TypeOf(New), reflect.TypeOf(Start),
		reflect.TypeOf(WithSettings), reflect.TypeOf(WithKeyBits), reflect.TypeOf(WithLogger)}
	for i := range box.NumMethod() {
		types = append(types, box.Method(i).Type)
	}
	for _, f := range reflect.VisibleFields(box.Elem()) {
		if f.IsExported() {
			types = append(types, f.Type)
		}
	}
	for _, x := range types {
		if text := fmt.Sprint(x, x.PkgPath()); strings.Contains(text, "/internal/") {
			t.Error(text)
		}
	}
}

// TestExamples: the Examples of the SDK are its manual, so that no operation may be without one.
func TestExamples(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../example_test.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]bool{}
	for _, e := range doc.Examples([]*ast.File{file}...) {
		checked[e.Name] = e.Output != ""
	}
	for _, o := range op.All {
		method := strings.TrimSuffix(o.Reply.Name(), "Reply")
		if _, ok := reflect.TypeFor[*infinia.Client]().MethodByName(method); !ok {
			t.Errorf("%s: the client has no method %s", o.Name, method)
		}
		if !checked["Client_"+method] {
			t.Errorf("%s: ../example_test.go has no ExampleClient_%s with an output", o.Name, method)
		}
	}
}

func share(t *testing.T, s *Sandbox, requestNo, amount string) {
	t.Helper()
	if _, err := s.Client.RevenueSharing(t.Context(), infinia.RevenueSharingRequest{RequestNo: requestNo, SellerID: "SELLER-1", Currency: "CNH", Amount: amount}); err != nil {
		t.Fatal(err)
	}
}

func available(t *testing.T, s *Sandbox) string {
	t.Helper()
	got, err := s.Client.AvailableRevenue(t.Context(), infinia.AvailableRevenueRequest{SellerID: "SELLER-1", Currency: "CNH"})
	if err != nil {
		t.Fatal(err)
	}
	return got.AvailableAmount
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		Start().Close()
	}
}
