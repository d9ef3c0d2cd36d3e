package trade

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/sample"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

var benchRows = flag.Int("rows", 100_000, "in the largest file of BenchmarkFiles, and in that of BenchmarkCheck")

const benchSellers = 10_000

// BenchmarkFiles judges, books and reports files that were uploaded before, of 10,000 sellers in random order, in fresh books:
// from the start of the import to its summary, while no calls run. The memory is the most that the process held, the database
// on SQLite included.
func BenchmarkFiles(b *testing.B) {
	storetest.Bench(b, func(b *testing.B, database func(testing.TB) string) {
		for rows := min(10_000, *benchRows); rows <= *benchRows; rows *= 10 {
			for _, bad := range []float64{0, 5} {
				b.Run(fmt.Sprintf("rows=%d/bad=%g", rows, bad), func(b *testing.B) {
					path, size, digest := benchFile(b, rows, bad)
					for range b.N {
						b.StopTimer()
						im := benchBooks(b, database(b))
						if err := im.Receive(b.Context(), "demo", "T-1", path, size, digest); err != nil {
							b.Fatal(err)
						}
						clearPeak(b)
						before := cpu(b)
						b.StartTimer()
						for _, queue := range []string{FileQueue("demo"), ResultQueue("demo")} {
							work(b, im, queue)
						}
						b.StopTimer()
						b.ReportMetric((cpu(b)-before)*1e6/float64(rows), "cpu-us/row")
						b.ReportMetric(peak(b), "MB-peak")
						if err := im.DB.Close(); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	})
}

// BenchmarkCSV reads the same file by encoding/csv, and does nothing with it.
func BenchmarkCSV(b *testing.B) {
	path, size, _ := benchFile(b, *benchRows, 0)
	b.SetBytes(size)
	for range b.N {
		src, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		r := csv.NewReader(src)
		r.ReuseRecord = true
		for err == nil {
			_, err = r.Read()
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		src.Close()
	}
	b.ReportMetric(float64(*benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkCheck is the judgement alone, of a file on disk, with nothing filed before.
func BenchmarkCheck(b *testing.B) {
	for _, bad := range []float64{0, 5} {
		b.Run(fmt.Sprintf("bad=%g", bad), func(b *testing.B) {
			path, size, _ := benchFile(b, *benchRows, bad)
			b.SetBytes(size)
			for range b.N {
				src, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				res, err := Check(src, Settings{}, Known{})
				if err != nil {
					b.Fatal(err)
				}
				if err := errors.Join(res.Close(), src.Close()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(*benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkStored writes what BenchmarkFiles stores of a sound file into the same table, and nothing else: on PostgreSQL by
// one COPY, on SQLite by prepared statements of 16 rows in commits of 500, the rows in the order of the file.
func BenchmarkStored(b *testing.B) {
	storetest.Bench(b, func(b *testing.B, database func(testing.TB) string) {
		path, _, _ := benchFile(b, *benchRows, 0)
		src, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		res, err := Check(src, Settings{}, Known{})
		if err != nil {
			b.Fatal(err)
		}
		defer res.Close()
		rows := rowsOf(res) // by line
		for range b.N {
			b.StopTimer()
			name := database(b)
			if err := benchBooks(b, name).DB.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			values := func(i int) []any {
				r := &rows[i]
				return []any{int64(1), r.Item[:], r.At, asInt(r.Amount < 0), int64(7), int64(r.part), r.Amount, asInt(r.Shipped), r.ShipDetail, int64(r.Line), r.Offset}
			}
			if store.IsPostgres(name) {
				copyRows(b, name, len(rows), values)
			} else {
				insertRows(b, name, len(rows), values)
			}
		}
		b.ReportMetric(float64(len(rows))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(0, "ns/op")
	})
}

var rowColumns = []string{"app", "item_key", "at", "returned", "run_id", "part", "amount", "shipped", "ship_hash", "line", "row_offset"}

func copyRows(b *testing.B, database string, rows int, values func(i int) []any) {
	conn, err := pgx.Connect(b.Context(), database)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	if _, err := conn.CopyFrom(b.Context(), pgx.Identifier{"trade_row"}, rowColumns, pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return values(i), nil })); err != nil {
		b.Fatal(err)
	}
}

func insertRows(b *testing.B, database string, rows int, values func(i int) []any) {
	db, err := sql.Open("sqlite", "file:"+database+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(8000)&_pragma=cache_size(-65536)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	place := "(" + strings.Repeat("?, ", len(rowColumns)-1) + "?)"
	insert := "INSERT INTO trade_row (" + strings.Join(rowColumns, ", ") + ") VALUES "
	many, err := db.Prepare(insert + strings.Repeat(place+", ", 15) + place)
	if err != nil {
		b.Fatal(err)
	}
	one, err := db.Prepare(insert + place)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < rows; {
		tx, err := db.Begin()
		for end := min(i+sqliteRowsPerUnit, rows); i < end && err == nil; {
			statement, n := one, 1
			if end-i >= 16 {
				statement, n = many, 16
			}
			var args []any
			for ; n > 0; n-- {
				args, i = append(args, values(i)...), i+1
			}
			_, err = tx.Stmt(statement).Exec(args...)
		}
		if err == nil {
			err = tx.Commit()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// benchFile writes a file of which bad percent are faulty.
func benchFile(b *testing.B, rows int, bad float64) (path string, size int64, digest string) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "trades.csv")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.New()
	if _, err := sample.Write(io.MultiWriter(f, sum), sample.Options{Rows: rows, Bad: int(bad * sample.Million / 100), Seed: 1, Sellers: sample.Sellers(benchSellers)}); err != nil {
		b.Fatal(err)
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		b.Fatal(err)
	}
	return path, info.Size(), hex.EncodeToString(sum.Sum(nil))
}

// benchBooks makes an app and its sellers, all bound.
func benchBooks(b *testing.B, database string) *Importer {
	b.Helper()
	db, err := store.Open(b.Context(), store.Config{Database: database})
	if err != nil {
		b.Fatal(err)
	}
	if err := db.Do(b.Context(), store.Unit{IDs: benchSellers + 10, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		for _, seller := range sample.Sellers(benchSellers) {
			bound := pgdb.Binding{ID: v.NextID(), AppID: "demo", SellerID: seller, Currency: "CNH", State: "SUCCESS", BoundAt: 1, LinkHash: []byte{}}
			v.Bindings.Put(bound.ID, bound)
		}
		return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "demo", Settings: "{}"})
	}}); err != nil {
		b.Fatal(err)
	}
	return &Importer{DB: db}
}

// work does the tasks of a queue that are due.
func work(b *testing.B, im *Importer, queue string) {
	b.Helper()
	var tasks []pgdb.Task
	if err := im.DB.Read(b.Context(), func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(b.Context(), pgdb.ListDueTasksParams{Queue: queue, Now: 1 << 60, Most: 9})
		return err
	}); err != nil || len(tasks) != 1 {
		b.Fatal(err, tasks)
	}
	run := im.Import
	if queue == ResultQueue("demo") {
		run = im.WriteResults
	}
	if err := run(b.Context(), tasks[0]); err != nil {
		b.Fatal(err)
	}
}

// cpu is what the process has used, in seconds; PostgreSQL's processes are others.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// clearPeak has the kernel count the process's most memory anew, and peak reads it.
func clearPeak(b *testing.B) {
	b.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	kB, err := strconv.ParseFloat(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(status))[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB * 1.024 / 1000
}
