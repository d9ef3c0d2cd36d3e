package sim

import (
	"strconv"
	"strings"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// query asks something that the model can foretell.
func (s *sim) query() {
	a := s.app()
	ask := []func(a *modelApp) (op string, fields map[string]string, want answer){s.askBalance, s.askAvailable, s.askShare, s.askBinding, s.askFile}[s.rng.IntN(5)]
	name, fields, want := ask(a)
	rep, err := operation(name).Run(s.ctx, s.node().engine, pgdb.App{AppID: a.name}, members(fields))
	is, _ := s.outcome(call{a, name, fields}, rep, err)
	if err == nil {
		is.text = replyText(rep)
	}
	s.say("%s %s %s %s %s = %s", a.name, name, fields["requestNo"], fields["sellerId"], fields["currency"], is)
	s.same(name, is, want)
	s.counts["  "+name]++
}

func replyText(rep any) string {
	var parts []string
	switch r := rep.(type) {
	case infinia.AccountBalanceReply:
		parts = []string{r.AvailableBalance, r.FrozenBalance, r.TotalBalance}
	case infinia.AvailableRevenueReply:
		parts = []string{r.AvailableAmount, r.TradeAmount, r.SharedAmount, r.ProcessingAmount, r.OverSharedAmount}
	case infinia.RevenueSharingQueryReply:
		parts = []string{r.RequestNo, r.SellerID, r.Currency, r.Amount, string(r.Status), string(r.FailCode), r.FinishTime}
		if r.SellerID == "" { // refused
			parts = []string{r.RequestNo, string(r.Status), string(r.FailCode)}
		}
	case infinia.AccountBindingQueryReply:
		parts = []string{r.RequestNo, r.SellerID, r.Currency, string(r.Status), string(r.SellerStatus)}
		if (r.FailReason != "") != (r.Status == infinia.BindingFailed || r.Status == infinia.BindingRevoked) {
			parts = append(parts, "with the reason "+r.FailReason)
		}
	case infinia.TradeDetailsQueryReply:
		parts = []string{r.RequestNo, string(r.Status), r.Attempt, r.TotalRows, r.AcceptedRows, r.RejectedRows}
		if (r.ErrorFileURL != "") != (r.RejectedRows != "" && r.RejectedRows != "0") {
			parts = append(parts, "with the error file "+r.ErrorFileURL)
		}
	}
	return strings.Join(parts, " ")
}

func (s *sim) askBalance(a *modelApp) (string, map[string]string, answer) {
	c := s.currency(a)
	want := answer{code: "BIZ-007"}
	if a.usable(c) {
		p := a.purse("", c)
		want = answer{done, strings.Join([]string{decimal(p.balance-p.held, c), decimal(p.held, c), decimal(p.balance, c)}, " ")}
	}
	return "account-balance/query", map[string]string{"currency": c}, want
}

func (s *sim) askAvailable(a *modelApp) (string, map[string]string, answer) {
	seller, c := s.seller(a), s.currency(a)
	want := answer{code: "BIZ-007"}
	switch {
	case !a.usable(c):
	case !a.seller(seller).everBound(c):
		want.code = "BIZ-003"
	default:
		trade, _, shared, processing, available, over := a.entitled(seller, c)
		var texts []string
		for _, n := range []int64{available, trade, shared, processing, over} {
			texts = append(texts, decimal(n, c))
		}
		want = answer{done, strings.Join(texts, " ")}
	}
	return "available-revenue/query", map[string]string{"sellerId": seller, "currency": c}, want
}

// numberUsed is that of an earlier call of the app's operation, or of none.
func (s *sim) numberUsed(a *modelApp, op string) string {
	for range 10 {
		if len(s.calls) == 0 {
			break
		}
		if c := recent(s, s.calls); c.app == a && c.op == op {
			return c.fields["requestNo"]
		}
	}
	return "R-none"
}

func (s *sim) askShare(a *modelApp) (string, map[string]string, answer) {
	number := s.numberUsed(a, shareOp)
	want := answer{code: "BIZ-002"}
	switch r := a.requests[shareOp+" "+number]; {
	case r == nil:
	case r.code != "":
		want = answer{done, strings.Join([]string{number, "FAILED", r.code}, " ")}
	default:
		finished := ""
		if r.share.finished > 0 {
			finished = time.UnixMilli(r.share.finished).UTC().Format(time.RFC3339)
		}
		want = answer{done, strings.Join([]string{shareText(r.share), r.share.failCode, finished}, " ")}
	}
	return "revenue-sharing/query", map[string]string{"requestNo": number}, want
}

func (s *sim) askBinding(a *modelApp) (string, map[string]string, answer) {
	text := func(number string, b *modelBinding) answer {
		status := ""
		if b.once {
			status = a.seller(b.seller).status
		}
		return answer{done, strings.Join([]string{number, b.seller, b.currency, bindingStatus(b.state), status}, " ")}
	}
	want := answer{code: "BIZ-002"}
	if s.chance(2) {
		seller, c := s.seller(a), s.currency(a)
		for _, b := range a.seller(seller).bindings { // the newest counts
			if b.currency == c {
				want = text(b.requestNo, b)
			}
		}
		return "account-binding/query", map[string]string{"sellerId": seller, "currency": c}, want
	}
	number := s.numberUsed(a, bindingOp)
	switch r := a.requests[bindingOp+" "+number]; {
	case r == nil:
	case r.code != "":
		want = answer{done, strings.Join([]string{number, "", "", "FAILED", ""}, " ")}
	default:
		want = text(number, r.binding)
	}
	return "account-binding/query", map[string]string{"requestNo": number}, want
}

func (s *sim) askFile(a *modelApp) (string, map[string]string, answer) {
	number := "F-none"
	if len(s.uploads) > 0 {
		number = recent(s, s.uploads).requestNo
	}
	want := answer{code: "BIZ-002"}
	if f := a.files[number]; f != nil {
		texts := []string{number, f.state, strconv.FormatInt(f.attempt, 10), "", "", ""}
		if f.state != "PROCESSING" {
			for i, n := range []int64{f.total, f.accepted, f.rejected} {
				texts[3+i] = strconv.FormatInt(n, 10)
			}
		}
		want = answer{done, strings.Join(texts, " ")}
	}
	return "trade-details/query", map[string]string{"requestNo": number}, want
}
