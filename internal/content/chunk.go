package content

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// packer makes chunks, one after the other.
type packer struct {
	data bytes.Buffer
	zip  *gzip.Writer
}

// pack makes a chunk of its bytes; it is valid until the next one.
func (p *packer) pack(raw []byte) ([]byte, error) {
	p.data.Reset()
	if p.zip == nil {
		var err error
		if p.zip, err = gzip.NewWriterLevel(&p.data, gzip.BestSpeed); err != nil {
			return nil, err
		}
	}
	p.zip.Reset(&p.data)
	_, err := p.zip.Write(raw)
	err = errors.Join(err, p.zip.Close())
	return p.data.Bytes(), err
}

// unpacker opens chunks, one after the other.
type unpacker struct {
	keys Keys
	raw  bytes.Buffer // of the last one
	zip  gzip.Reader
}

// unpack leaves in raw what a chunk of a content of this size holds, and holds it against its checksum.
func (u *unpacker) unpack(id, no, size int64, chunk pgdb.GetContentChunkRow) error {
	size = min(chunkSize, size-no*chunkSize)
	u.raw.Reset()
	u.raw.Grow(int(size) + bytes.MinRead)
	data, err := u.keys.open(id, no, chunk)
	if errors.Is(err, ErrKeyMissing) {
		return err
	}
	if err == nil {
		err = u.zip.Reset(bytes.NewReader(data))
	}
	if err == nil { // read to its end, where the checksum is compared
		_, err = u.raw.ReadFrom(io.LimitReader(&u.zip, size+1))
	}
	if err == nil && int64(u.raw.Len()) != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return damaged(id, no, err)
	}
	return nil
}

func damaged(id, no int64, err error) error {
	return fmt.Errorf("chunk %d of content %d is damaged; restore the database from a backup: %w", no, id, err)
}

// Patch is bytes that take the place of as many others of a content.
type Patch struct {
	Offset int64
	Data   []byte
}

// Overwrite is called by a unit to put patches, in the order of their offsets, into a content. The chunks that they touch are
// written anew. Who reads the content meanwhile may get some chunks as they were and others as they are.
func Overwrite(ctx context.Context, q *pgdb.Queries, k Keys, id int64, patches []Patch) error {
	size, err := q.GrowContent(ctx, pgdb.GrowContentParams{ID: id}) // the lock: nobody else writes its chunks
	if err != nil {
		return known(id, err)
	}
	if n := len(patches); n > 0 && patches[n-1].Offset+int64(len(patches[n-1].Data)) > size {
		return fmt.Errorf("content %d has %d bytes, and the last patch goes beyond them", id, size)
	}
	var p packer
	u := unpacker{keys: k}
	patches = slices.DeleteFunc(slices.Clone(patches), func(p Patch) bool { return len(p.Data) == 0 })
	for len(patches) > 0 {
		no := patches[0].Offset / chunkSize
		chunk, err := q.GetContentChunk(ctx, pgdb.GetContentChunkParams{ContentID: id, No: no})
		if err != nil {
			return known(id, err)
		}
		if err := u.unpack(id, no, size, chunk); err != nil {
			return err
		}
		for len(patches) > 0 && patches[0].Offset/chunkSize == no {
			at := &patches[0]
			n := copy(u.raw.Bytes()[at.Offset%chunkSize:], at.Data)
			if at.Offset, at.Data = at.Offset+int64(n), at.Data[n:]; len(at.Data) == 0 { // else it goes on in the next chunk
				patches = patches[1:]
			}
		}
		data, err := p.pack(u.raw.Bytes())
		if err != nil {
			return err
		}
		sealed, keyID := k.seal(id, no, data)
		if err := q.UpdateContentChunk(ctx, pgdb.UpdateContentChunkParams{ContentID: id, No: no, Data: sealed, KeyID: keyID}); err != nil {
			return err
		}
	}
	return nil
}
