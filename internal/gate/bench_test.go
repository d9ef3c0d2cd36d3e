package gate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// BenchmarkWithoutRSA makes Revenue Sharing calls through HTTP and everything but RSA: the envelope is parsed, app and keys
// are read, the call is judged, committed and recorded, and the shares settle beside it. The time ends when the last share
// is settled. Before it begins each seller has had a call, so that the node has read its rows. The clients are in the same
// process; they write and read HTTP on bare connections, because it is the server that is measured.
func BenchmarkWithoutRSA(b *testing.B) {
	storetest.Bench(b, func(b *testing.B, database func(testing.TB) string) {
		for _, clients := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchWithoutRSA(b, database(b), clients) })
		}
	})
}

func benchWithoutRSA(b *testing.B, database string, clients int) {
	const sellers = 1000
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{Database: database})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	engine, err := op.NewEngine(ctx, db, "http://127.0.0.1", false)
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	g := New(Config{Engine: engine, Log: log, Metrics: prometheus.NewRegistry(), CallsPerSecond: 1e9})
	defer g.Close()
	g.rsa = rsaEngine{
		verify: func(string, string, ...*rsa.PublicKey) (int, error) { return 0, nil },
		decrypt: func(data string, _ ...envelope.PrivateKey) ([]byte, error) {
			return base64.StdEncoding.DecodeString(data)
		},
		encrypt: func(plain []byte, _ *rsa.PublicKey, _ int) (string, error) {
			return base64.StdEncoding.EncodeToString(plain), nil
		},
	}
	benchBooks(b, db, sellers)
	working, stop := context.WithCancel(ctx)
	var dispatching sync.WaitGroup
	defer dispatching.Wait()
	defer stop()
	dispatching.Go(func() {
		outbox.NewDispatcher(db, log, map[string]outbox.Work{op.SettleQueue: {Most: 256, Gather: 50 * time.Millisecond, Run: engine.Settle}}).Run(working)
	})
	server := httptest.NewServer(g)
	defer server.Close()
	var next atomic.Int64
	post := func(upTo int64) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for n := next.Add(1); n <= upTo; n = next.Add(1) {
			if err := benchShare(conn, answers, n, fmt.Sprintf("S-%d", n*7919%sellers)); err != nil {
				b.Error(err)
				return
			}
		}
	}
	post(sellers)
	next.Store(sellers)
	b.ResetTimer()
	var posting sync.WaitGroup
	for range clients {
		posting.Go(func() { post(sellers + int64(b.N)) })
	}
	posting.Wait()
	for left := 1; left > 0; {
		if err := db.Read(ctx, func(q *pgdb.Queries) error {
			tasks, err := q.ListDueTasks(ctx, pgdb.ListDueTasksParams{Queue: op.SettleQueue, Now: 1 << 60, Most: 1})
			left = len(tasks)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(0, "ns/op")
}

// benchShare makes one call and reads its answer.
func benchShare(conn io.Writer, answers *bufio.Reader, n int64, seller string) error {
	content := fmt.Sprintf(`{"requestNo":"R-%d","sellerId":"%s","currency":"CNH","amount":"0.01"}`, n, seller)
	body, err := json.Marshal(envelope.Request{Version: "1.0", AppID: testApp, DataType: "JSON",
		RequestData: base64.StdEncoding.EncodeToString([]byte(content)), Signature: base64.StdEncoding.EncodeToString(make([]byte, 256))})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", infinia.OpRevenueSharing.Path(), len(body), body); err != nil {
		return err
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(answer, []byte(`"code":"SUC-200"`)) {
		return fmt.Errorf("%v %.300s", err, answer)
	}
	return nil
}

// benchBooks writes an app, its keys, sellers and trades straight into the tables.
func benchBooks(b *testing.B, db *store.DB, sellers int) {
	settings, err := json.Marshal(store.Settings{BlocksPerSecond: 1e6})
	if err != nil {
		b.Fatal(err)
	}
	client, platform := testKey(b, "test-client-2048"), testKey(b, "test-platform-2048")
	if err := db.Do(b.Context(), store.Unit{IDs: 10 + 10*sellers, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		if err := q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: testApp, Settings: string(settings)}); err != nil {
			return err
		}
		for owner, k := range map[string]*rsa.PrivateKey{store.ClientKey: client, store.PlatformKey: platform} {
			if err := q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: testApp, Owner: owner, Fingerprint: envelope.Fingerprint(&k.PublicKey),
				PublicKey: string(envelope.MarshalPublicKey(&k.PublicKey)), PrivateKey: string(envelope.MarshalPrivateKey(k)), FirstUsedAt: 1}); err != nil {
				return err
			}
		}
		account := func(kind, seller string, balance int64) {
			v.Accounts.Put(store.AccountKey{AppID: testApp, Kind: kind, SellerID: seller, Currency: "CNH"},
				pgdb.Account{ID: v.NextID(), AppID: testApp, Kind: kind, SellerID: seller, Currency: "CNH", Balance: balance})
		}
		account("platform", "", 1<<60)
		for i := range sellers {
			seller := fmt.Sprintf("S-%d", i)
			v.Sellers.Put(store.SellerKey{AppID: testApp, SellerID: seller}, pgdb.Seller{ID: v.NextID(), AppID: testApp, SellerID: seller, Status: "ACTIVE"})
			b := pgdb.Binding{ID: v.NextID(), AppID: testApp, SellerID: seller, Currency: "CNH", State: op.BindingSuccess, LinkHash: []byte{}}
			v.Bindings.Put(b.ID, b)
			account("filed-shipped", seller, 1<<50)
		}
		return nil
	}}); err != nil {
		b.Fatal(err)
	}
}
