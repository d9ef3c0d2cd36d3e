package server

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/sample"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

var fileRows = flag.Int("rows", 1_000_000, "in the file of BenchmarkCallsBesideFile")

// BenchmarkCallsBesideFile makes b.N Revenue Sharing calls with RSA keys of 4096 bits while nothing else runs, and then b.N
// while the server, a process of its own, is at a large trade file that was uploaded before: file-percent is how far it
// was after them.
func BenchmarkCallsBesideFile(b *testing.B) {
	client, platform := testKey(b, "client-4096"), testKey(b, "platform-4096")
	storetest.Bench(b, func(b *testing.B, database func(testing.TB) string) {
		for _, clients := range []int{1, 8} {
			b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
				cfg := testConfig(b, storetest.SQLite, store.Settings{UploadFileMegabytes: 4096})
				cfg.ClientKey, cfg.PlatformKey = client, platform
				if name := database(b); store.IsPostgres(name) {
					cfg.Database = name
				}
				benchBesideFile(b, cfg, clients)
			})
		}
	})
}

func benchBesideFile(b *testing.B, cfg SandboxConfig, clients int) {
	r := startConfig(b, cfg)
	r.fund("1000000.00", "1000000.00")
	r.stop()
	r, kill := startElsewhere(b, cfg.Data, cfg.Database)
	defer kill()
	path := filepath.Join(b.TempDir(), "trades.csv")
	f := must(os.Create(path))(b)
	must(sample.Write(f, sample.Options{Rows: *fileRows, Seed: 1, Sellers: []string{seller}}))(b)
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	bodies := sealShares(b, r, 2*b.N)
	b.ResetTimer()
	idle := timed(b, []*rig{r}, bodies[:b.N], clients)
	b.StopTimer()
	r.runSFTP(fmt.Sprintf("put %s /upload/TDU-LARGE.csv.part\nrename /upload/TDU-LARGE.csv.part /upload/TDU-LARGE.csv", path))
	storetest.Until(b, "the file is taken over", func() bool { _, code := r.fileState("TDU-LARGE"); return code == "" })
	busy := timed(b, []*rig{r}, bodies[b.N:], clients)
	rep := must(r.Client.TradeDetailsQuery(b.Context(), infinia.TradeDetailsQueryRequest{RequestNo: "TDU-LARGE"}))(b)
	percent := 100.0
	if rep.Status == infinia.FileProcessing {
		percent = must(strconv.ParseFloat(rep.Progress, 64))(b)
	}
	b.ReportMetric(percent, "file-percent")
	for name, took := range map[string][]time.Duration{"idle": idle, "file": busy} {
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-"+name+"-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-"+name+"-ms")
	}
	b.ReportMetric(0, "ns/op")
}
