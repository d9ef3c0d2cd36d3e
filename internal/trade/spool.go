package trade

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/openinfinia/infinia/money"
)

// spool holds the rows of a file between one pass and the next, so that a file may have any number of them. It divides them
// by the first byte of their items: the buckets in order, each sorted, are the whole file sorted. A bucket has one block in
// memory, and the others in a file that has no name any more.
type spool struct {
	parts   []Part // who owns the rows, by Row.part
	buckets [256]bucket

	mu   sync.Mutex // guards what follows; each bucket has one user at a time
	file *os.File   // nil until a block is full
	end  int64
}

type bucket struct {
	block  []byte
	blocks []int64 // where in the file the full ones are
}

const (
	rowSize   = 16 + 5*8 + 2*4 + 1
	blockSize = 1000 * rowSize
)

func (s *spool) Close() error {
	s.buckets = [len(s.buckets)]bucket{}
	f := s.file
	if s.file = nil; f == nil {
		return nil
	}
	return f.Close()
}

// add appends a row to its bucket.
func (s *spool) add(r *Row) error {
	b := &s.buckets[r.Item[0]]
	p := append(b.block, r.Item[:]...)
	for _, v := range [...]uint64{uint64(r.At), uint64(r.Amount), uint64(r.ShipDetail), uint64(r.Offset), r.content} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	p = binary.LittleEndian.AppendUint32(p, uint32(r.Line))
	p = binary.LittleEndian.AppendUint32(p, uint32(r.part))
	flags := byte(r.state) << 2
	if r.Shipped {
		flags |= 1
	}
	if r.Update {
		flags |= 2
	}
	b.block = append(p, flags)
	if len(b.block) < blockSize {
		return nil
	}
	at, err := s.room()
	if err == nil {
		_, err = s.file.WriteAt(b.block, at)
	}
	if err != nil {
		return fmt.Errorf("put rows aside: %w", err)
	}
	b.blocks, b.block = append(b.blocks, at), b.block[:0]
	return nil
}

// room is where the next block goes.
func (s *spool) room() (at int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "infinia-rows-*"); err != nil {
			return 0, err
		}
		if err := os.Remove(s.file.Name()); err != nil { // it lasts as long as it is open
			return 0, err
		}
	}
	at = s.end
	s.end += blockSize
	return at, nil
}

// rows reads a bucket into the space of into.
func (s *spool) rows(bucket int, into []Row) ([]Row, error) {
	b := &s.buckets[bucket]
	into = into[:0]
	if len(b.blocks) > 0 {
		block := make([]byte, blockSize)
		for _, at := range b.blocks {
			if _, err := s.file.ReadAt(block, at); err != nil && err != io.EOF {
				return nil, fmt.Errorf("fetch rows put aside: %w", err)
			}
			into = s.decode(block, into)
		}
	}
	return s.decode(b.block, into), nil
}

func (s *spool) decode(p []byte, into []Row) []Row {
	for ; len(p) >= rowSize; p = p[rowSize:] {
		n := func(i int) uint64 { return binary.LittleEndian.Uint64(p[16+8*i:]) }
		part := int32(binary.LittleEndian.Uint32(p[60:]))
		flags := p[rowSize-1]
		into = append(into, Row{Item: [16]byte(p), At: int64(n(0)), Amount: int64(n(1)), ShipDetail: int64(n(2)), Offset: int64(n(3)), content: n(4),
			Line: int(binary.LittleEndian.Uint32(p[56:])), part: part, SellerID: s.parts[part].SellerID, Currency: s.parts[part].Currency,
			Shipped: flags&1 != 0, Update: flags&2 != 0, state: rowState(flags >> 2)})
	}
	return into
}

// replace puts rows in the place of a bucket's.
func (s *spool) replace(bucket int, rows []Row) error {
	b := &s.buckets[bucket]
	b.block, b.blocks = b.block[:0], nil
	for i := range rows {
		if err := s.add(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// part finds or makes the number of a seller and currency.
func (res *Result) part(seller string, currency money.Currency) int32 {
	b := Binding{seller, currency}
	n, ok := res.partNos[b]
	if !ok {
		n = int32(len(res.spool.parts))
		res.partNos[b] = n
		res.spool.parts = append(res.spool.parts, Part{No: int(n), SellerID: seller, Currency: currency})
	}
	return n
}
