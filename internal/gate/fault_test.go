package gate

import (
	"net/http"
	"testing"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestDatabaseIsAway: a call that the database cannot take is told to come again and leaves nothing; the same call again,
// when the database is back, is the first. Where only the answer to its commit was lost, the call is answered as if nothing
// had happened.
func TestDatabaseIsAway(t *testing.T) {
	t.Parallel()
	p, through := storetest.StartProxy(t, storetest.Postgres.New(t))
	r := newRigOver(t, through, store.Settings{})
	const binding = `{"requestNo":"ABR-1","sellerId":"SELLER-1","sellerCertNo":"91310108MA1KXXXXXX","sellerName":"Acme","storeName":"Acme","storeUrl":"https://store.example.com","entityType":"Corporate","country":"CHN","currency":"CNH"}`
	call := func(path, content string, want infinia.Code) {
		t.Helper()
		if got, resp, _ := r.post("/v1/"+path, r.seal(content)); got != http.StatusOK || resp.Code != string(want) {
			t.Errorf("%s: answered %d %s, want %s", path, got, resp.Code, want)
		}
	}
	requests := func() (n int64) {
		r.read(func(q *pgdb.Queries) error {
			counts, err := q.VerifyCounts(t.Context())
			n = counts.Requests
			return err
		})
		return n
	}
	p.Refuse(true)
	p.Cut()
	call("account-binding/request", binding, infinia.Unavailable)
	call("account-balance/query", `{"currency":"CNH"}`, infinia.Unavailable)
	p.Refuse(false)
	storetest.Until(t, "the database to be back", func() bool { return r.db.Ready(t.Context()) == nil })
	if n := requests(); n != 0 {
		t.Errorf("%d requests are kept of calls that were not taken", n)
	}
	met := p.HarmNext("COMMIT", storetest.CutAfter)
	call("account-binding/request", binding, infinia.Success)
	<-met
	call("account-binding/request", binding, infinia.Success)
	if n := requests(); n != 1 {
		t.Errorf("%d requests are kept, want the one", n)
	}
}
