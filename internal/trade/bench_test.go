package trade

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// BenchmarkCheck prints rows a second, and bytes a row that are still held when the check is done.
func BenchmarkCheck(b *testing.B) {
	const rows = 100_000
	var text strings.Builder
	for i := range rows {
		fmt.Fprintf(&text, "sellerId=SELLER-%d; orderId=PI-%d; sku=SKU-%d\n", i%5000, i, i%100)
	}
	for name, file := range map[string]string{
		"sound": csvOf(headerLine(), text.String()),
		"wrong": csvOf(headerLine(), strings.ReplaceAll(text.String(), "\n", "; transactionTime=3/9/2025; country=China\n")),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				res, err := Check(strings.NewReader(file), Settings{}, Known{})
				if err != nil {
					b.Fatal(err)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				if err := WriteErrorFile(io.Discard, strings.NewReader(file), res, true); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/rows, "heldB/row")
		})
	}
}
