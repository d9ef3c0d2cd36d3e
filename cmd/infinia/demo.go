package main

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/server"
	"github.com/openinfinia/infinia/internal/store"
)

// demoCmd does the product's main job once, on real parts, and explains each step.
type demoCmd struct {
	Keep    bool `help:"Leave the sandbox running afterwards, until it is interrupted."`
	KeyBits int  `default:"4096" help:"Bits of the keys that are made."`
}

func (c demoCmd) Run(ctx context.Context, con console) error {
	data, err := os.MkdirTemp("", "infinia-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	signal.Ignore(syscall.SIGPIPE) // or the keys would stay behind when nobody reads on
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	d := &demo{ctx: ctx, quit: quit, out: colors(con.out, os.Environ()), began: time.Now()}
	if err = d.start(data, c.KeyBits, con.err); err == nil {
		err = d.play()
	}
	switch {
	case err != nil:
	case c.Keep:
		d.say("The sandbox stays up; interrupt to stop it. In another terminal:\ninfinia audit list --data %s", data)
		<-ctx.Done()
	default:
		d.say("Next: infinia dev starts a sandbox that stays, and says how to call it.")
	}
	if d.unheard != nil {
		err = d.unheard // what else failed, failed because of it
	}
	return errors.Join(err, d.stop())
}

type demo struct {
	ctx   context.Context
	quit  context.CancelFunc
	out   io.Writer
	began time.Time
	step  int

	unheard error // why nothing can be printed any more

	box    *server.Sandbox
	client *infinia.Client // the platform's, which shows what goes over the wire
	hook   *http.Server    // the platform's webhook endpoint
	events chan infinia.Notification
}

var (
	headline = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("6"))
	faint    = lipgloss.NewStyle().Faint(true)
	fine     = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("2"))
)

// print ends the demo when nothing can be printed any more.
func (d *demo) print(text string) {
	if _, err := fmt.Fprintln(d.out, text); err != nil {
		d.unheard = err
		d.quit()
	}
}

func (d *demo) head(format string, args ...any) {
	d.step++
	d.print("")
	d.print(headline.Render(fmt.Sprintf("%d. "+format, append([]any{d.step}, args...)...)))
}

func (d *demo) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		d.print("   " + strings.TrimSuffix(line, "\n"))
	}
}

func (d *demo) wire(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		d.print(faint.Render("   " + strings.TrimSuffix(line, "\n")))
	}
}

// start brings up the sandbox and the platform's webhook endpoint.
func (d *demo) start(data string, bits int, logTo io.Writer) (err error) {
	d.head("A sandbox starts in this process")
	d.say("It makes three key pairs: RSA of %d bits for the platform app \"demo\" and for this server, Ed25519 for SFTP.", bits)
	d.box, err = server.StartSandbox(d.ctx, server.SandboxConfig{
		Config: server.Config{Data: data, HTTP: "127.0.0.1:0", SFTP: "127.0.0.1:0", KeyBits: bits,
			Log: slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: slog.LevelWarn}))},
	})
	if err != nil {
		return err
	}
	d.say("API %s, SFTP %s, its books in a SQLite file.", d.box.File.API, d.box.File.SFTP)
	d.client, err = infinia.NewClient(d.box.File.AppID, d.box.ClientKey, []*rsa.PublicKey{d.box.PlatformKey}, infinia.WithBaseURL(d.box.File.API),
		infinia.WithHTTPClient(wireClient(func(w wire) {
			d.wire("> POST %s\n> %s\n< %s %s", strings.TrimPrefix(w.url, d.box.URL), shorten(w.request), w.status, shorten(w.response))
		})))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.events = make(chan infinia.Notification, 1)
	d.hook = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: infinia.NewWebhookHandler(d.box.File.AppID, []envelope.PrivateKey{d.box.ClientKey},
		[]*rsa.PublicKey{d.box.PlatformKey}, func(_ context.Context, n infinia.Notification) error { d.events <- n; return nil })}
	go d.hook.Serve(l) //nolint:errcheck // it ends with the demo
	_, err = d.box.Admin.SetSettings(d.ctx, d.box.File.AppID, admin.NewSettings{Act: act("settings"),
		Settings: store.Settings{CallbackURL: "http://" + l.Addr().String(), SettleDelayMillis: 500}})
	return err
}

func (d *demo) stop() error {
	ctx := context.WithoutCancel(d.ctx)
	var errs []error
	if d.hook != nil {
		errs = append(errs, d.hook.Shutdown(ctx))
	}
	if d.box != nil {
		errs = append(errs, d.box.Close(ctx))
	}
	return errors.Join(errs...)
}

func act(what string) admin.Act { return admin.Act{Reference: "demo-" + what, Reason: "demonstration"} }

const demoSeller, demoCurrency = "SELLER-123456", "CNH"

func (d *demo) play() error {
	for _, step := range []func() error{d.bind, d.file, d.available, d.deposit, d.share, d.freeze, d.books} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) bind() error {
	d.head("The platform binds a seller's account")
	d.say("The request is JSON, encrypted in RSA blocks to this server's key and signed with the platform's:")
	rep, err := d.client.AccountBinding(d.ctx, infinia.AccountBindingRequest{
		RequestNo: "ABR-20250903-0001", SellerID: demoSeller, SellerCertNo: "91310108MA1KXXXXXX", SellerName: "Acme Trading Ltd.",
		StoreName: "Acme Official Store", StoreURL: "https://store.example.com/acme", EntityType: "Corporate", Country: "CHN",
		Currency: demoCurrency, Note: "First-time binding", BacklinkURL: "https://merchant.example.com/seller/SELLER-123456",
	})
	if err != nil {
		return err
	}
	d.opened(rep)
	d.say("The seller's browser opens the link, reads who asks for what, ticks and confirms. (Here this program is the browser.)")
	if err := d.box.AnswerBinding(d.ctx, rep.RedirectURL, "confirm"); err != nil {
		return err
	}
	d.say("An operator approves; an app can also be set to approve by itself.")
	waiting, err := d.box.Admin.Bindings(d.ctx, admin.BindingsFilter{AppID: d.box.File.AppID, State: "AWAITING_REVIEW"})
	if err != nil {
		return err
	}
	if len(waiting.Items) != 1 {
		return fmt.Errorf("%d bindings wait for review, want 1", len(waiting.Items))
	}
	if _, err := d.box.Admin.ApproveBinding(d.ctx, waiting.Items[0].ID, act("approve")); err != nil {
		return err
	}
	state, err := d.client.AccountBindingQuery(d.ctx, infinia.AccountBindingQueryRequest{SellerID: demoSeller, Currency: demoCurrency})
	if err != nil {
		return err
	}
	d.opened(state)
	return expect("the binding", state.Status, infinia.BindingSuccess)
}

const demoFile = `sellerId,orderId,sku,transactionTime,transactionCurrency,transactionAmount,productType,productName,productQuantity,productUnitPrice,shippingStatus,estimatedShippingTime,logisticsTrackingNo,logisticsCompany,shippingTime,country,storeUrl,buyerName,buyerAddress
SELLER-123456,PI-1001,LAMP-1,2026-02-01 10:00:00,CNH,1200.00,001,Desk lamp,12,100.00,Shipped,,SF1001,SF Express,2026-02-02 09:00:00,USA,https://store.example.com/acme/1,,
SELLER-123456,PI-1002,LAMP-2,2026-02-01 11:30:00,CNH,800.00,001,"Floor lamp, black",4,200.00,Not Shipped,2026-02-20 00:00:00,,,,DEU,https://store.example.com/acme/2,,
`

func (d *demo) file() error {
	d.head("The platform files trade details by SFTP, as evidence")
	d.wire("sftp> put TDU-20250903-0001.csv.part /upload   (2 rows)\nsftp> rename TDU-20250903-0001.csv.part TDU-20250903-0001.csv")
	if err := d.box.Upload(d.ctx, "TDU-20250903-0001.csv", []byte(demoFile)); err != nil {
		return err
	}
	d.say("The rename says that the file is whole. Every row is checked, the books learn what the seller has sold.")
	for {
		state, err := d.box.Client.TradeDetailsQuery(d.ctx, infinia.TradeDetailsQueryRequest{RequestNo: "TDU-20250903-0001"})
		if err != nil && !isCode(err, infinia.NotFound) { // not there until the upload was taken over
			return err
		}
		if err == nil && state.Status != infinia.FileProcessing {
			break
		}
		if err := d.pause(); err != nil {
			return err
		}
	}
	state, err := d.client.TradeDetailsQuery(d.ctx, infinia.TradeDetailsQueryRequest{RequestNo: "TDU-20250903-0001"})
	if err != nil {
		return err
	}
	d.opened(state)
	return expect("the file", state.Status, infinia.FileSuccess)
}

func (d *demo) available() error {
	d.head("What may the seller receive?")
	rep, err := d.client.AvailableRevenue(d.ctx, infinia.AvailableRevenueRequest{SellerID: demoSeller, Currency: demoCurrency})
	if err != nil {
		return err
	}
	d.opened(rep)
	return expect("available", rep.AvailableAmount, "2000.00")
}

func (d *demo) deposit() error {
	d.head("Money arrives at the bank, and the operator books it")
	dep, err := d.box.Admin.AddDeposit(d.ctx, admin.NewDeposit{Act: act("deposit"), AppID: d.box.File.AppID, Currency: demoCurrency, Amount: "5000.00",
		BankReference: "BANK-7788", ValueDate: "2026-02-03", Payer: "Demo Marketplace"})
	if err != nil {
		return err
	}
	d.say("%s %s under bank reference %s.", dep.Amount, dep.Currency, dep.BankReference)
	rep, err := d.client.AccountBalance(d.ctx, infinia.AccountBalanceRequest{Currency: demoCurrency})
	if err != nil {
		return err
	}
	d.opened(rep)
	return expect("the balance", rep.AvailableBalance, "5000.00")
}

func (d *demo) share() error {
	d.head("The platform shares revenue with the seller")
	req := infinia.RevenueSharingRequest{RequestNo: "RSR-20250903-0001", SellerID: demoSeller, Currency: demoCurrency, Amount: "1500.00", Note: "September"}
	rep, err := d.client.RevenueSharing(d.ctx, req)
	if err != nil {
		return err
	}
	d.opened(rep)
	d.say("Accepted: the money and the seller's entitlement are held. It is judged once more when it is settled.")
	for {
		state, err := d.box.Client.RevenueSharingQuery(d.ctx, infinia.RevenueSharingQueryRequest{RequestNo: req.RequestNo})
		if err != nil {
			return err
		}
		if state.Status != infinia.ShareProcessing {
			break
		}
		if err := d.pause(); err != nil {
			return err
		}
	}
	state, err := d.client.RevenueSharingQuery(d.ctx, infinia.RevenueSharingQueryRequest{RequestNo: req.RequestNo})
	if err != nil {
		return err
	}
	d.opened(state)
	if err := expect("the share", state.Status, infinia.ShareSuccess); err != nil {
		return err
	}
	d.say("More than the trades cover is refused, and nothing moves:")
	_, err = d.client.RevenueSharing(d.ctx, infinia.RevenueSharingRequest{RequestNo: "RSR-20250903-0002", SellerID: demoSeller, Currency: demoCurrency, Amount: "500.01"})
	if !isCode(err, infinia.OverAvailableShare) {
		return fmt.Errorf("a share over the available one was answered %v", err)
	}
	d.say("%v", err)
	return nil
}

func (d *demo) freeze() error {
	d.head("The operator freezes the seller, and the platform is told by webhook")
	if _, err := d.box.Admin.FreezeSeller(d.ctx, d.box.File.AppID, admin.SellerAct{Act: act("freeze"), SellerID: demoSeller}); err != nil {
		return err
	}
	select {
	case n := <-d.events:
		d.wire("< POST to the platform's callback URL, verified and opened:")
		d.opened(n)
		d.say("The platform answered SUCCESS, exactly; anything else would be sent again, five times.")
		return expect("the seller", n.Status, infinia.SellerIsFrozen)
	case <-time.After(20 * time.Second):
		return fmt.Errorf("no webhook came")
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}

func (d *demo) books() error {
	d.head("The books")
	accounts, err := d.box.Admin.Accounts(d.ctx, admin.AccountsFilter{AppID: d.box.File.AppID})
	if err != nil {
		return err
	}
	for i := range accounts.Items {
		a := accounts.Items[len(accounts.Items)-1-i]
		d.print(fmt.Sprintf("   %-16s %-14s %s %12s", a.Kind, a.SellerID, a.Currency, a.Balance))
	}
	v, err := d.box.Admin.Verify(d.ctx)
	if err != nil {
		return err
	}
	if !v.Sound {
		return fmt.Errorf("the books do not add up: %s", strings.Join(v.Faults, "; "))
	}
	d.print("")
	d.print(fine.Render(fmt.Sprintf("   verified: %d accounts, %d postings, every currency sums to zero", v.Accounts, v.Postings)) +
		faint.Render(fmt.Sprintf("   (%.1f s)", time.Since(d.began).Seconds())))
	return nil
}

// opened prints the plain text of what was received.
func (d *demo) opened(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(err.Error())
	}
	d.say("%s", text)
}

func (d *demo) pause() error {
	select {
	case <-time.After(50 * time.Millisecond):
		return nil
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}

func isCode(err error, code infinia.Code) bool {
	e, ok := errors.AsType[*infinia.Error](err)
	return ok && e.Code == code
}

func expect[T comparable](what string, is, want T) error {
	if is != want {
		return fmt.Errorf("%s is %v, want %v", what, is, want)
	}
	return nil
}

// shorten cuts the long members of an envelope.
func shorten(body []byte) string {
	var members map[string]string
	if json.Unmarshal(body, &members) != nil {
		return string(body)
	}
	var out []string
	for _, name := range []string{"version", "appId", "dataType", "code", "message", "requestData", "responseData", "signature"} {
		value, ok := members[name]
		if !ok {
			continue
		}
		if len(value) > 64 {
			value = fmt.Sprintf("%s… (%d characters)", value[:16], len(value))
		}
		out = append(out, fmt.Sprintf("%q:%q", name, value))
	}
	return "{" + strings.Join(out, ",") + "}"
}
