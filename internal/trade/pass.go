package trade

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// batchRecords is how many records one goroutine takes at once.
const batchRecords = 256

// batch is some records of a file that follow each other, and what a pass makes of them.
type batch struct {
	first   int // how many records of the file stand before it
	records []record
	data    []byte // theirs, and those of the blank lines between them: all from offset on
	offset  int64
	cells   []span // theirs
	err     error  // why there are no more: io.EOF, errTooLong with its line, or a fault of the source
	line    int

	judged []judged  // of a check, one for each record that was judged
	out    []byte    // of an error file, or of a mended one
	mended []Problem // in out

	failed error // of the work
	done   chan struct{}
}

// fill takes over the next records; blank ones are none.
func (b *batch) fill(split *splitter, enc encoding) {
	b.records, b.data, b.cells, b.offset = b.records[:0], b.data[:0], b.cells[:0], split.offset
	for len(b.records) < batchRecords {
		rec, err := split.next()
		if err != nil {
			b.err, b.line = err, split.line
			return
		}
		// Where appending moves the data, the records before keep the old place.
		n := len(b.data)
		b.data = append(append(b.data, rec.raw...), rec.end...)
		if enc.blank(rec.raw) {
			continue
		}
		raw := len(rec.raw)
		rec.raw, rec.end = b.data[n:n+raw:n+raw], b.data[n+raw:]
		if rec.cells != nil {
			n = len(b.cells)
			b.cells = append(b.cells, rec.cells...)
			rec.cells = b.cells[n:len(b.cells):len(b.cells)]
		}
		b.records = append(b.records, rec)
	}
}

// pass reads a file from where split is: one goroutine cuts it into records, several work on batches of them, each with a
// checker of its own, and take is given the batches in the order of the file. It returns the first error, of the source too,
// unless that is its end.
func (c *checker) pass(split *splitter, work func(c *checker, b *batch) error, take func(b *batch) error) error {
	workers := workers()
	inFlight := 2*workers + 1
	free, todo, order := make(chan *batch, inFlight), make(chan *batch, inFlight), make(chan *batch, inFlight)
	for range inFlight {
		free <- &batch{done: make(chan struct{}, 1)}
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	defer running.Wait()
	defer close(stop)
	running.Go(func() {
		defer close(todo)
		for first := 0; ; {
			select {
			case <-stop:
				return
			case b := <-free:
				b.first = first
				if err := guard(func() error { b.fill(split, c.enc); return nil }); err != nil {
					b.err = err
				}
				first += len(b.records)
				order <- b
				todo <- b
				if b.err != nil {
					return
				}
			}
		}
	})
	for range workers {
		running.Go(func() {
			c := c.another()
			for b := range todo {
				began := time.Now()
				b.failed = guard(func() error { return work(c, b) })
				b.done <- struct{}{}
				c.rest(time.Since(began))
			}
		})
	}
	for b := range order {
		<-b.done
		if b.failed != nil {
			return b.failed
		}
		if err := take(b); err != nil {
			return err
		}
		switch {
		case b.err == nil:
			free <- b
		case errors.Is(b.err, io.EOF), errors.Is(b.err, errTooLong):
			return nil
		default:
			return b.err
		}
	}
	return nil
}

// workers is how many goroutines judge a file.
func workers() int { return runtime.GOMAXPROCS(0) }

// guard makes a panic the error of its file: in a goroutine of ours it would end the server, and do so again at each start.
func guard(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return work()
}
