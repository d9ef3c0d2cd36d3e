// Package content keeps whole files in the database: uploads, their error files, what apps find as results. Every node over
// one database reads them there, and whatever protects the books protects them too.
//
// A content is written in chunks, each compressed and, where there are keys, encrypted by itself, so that reading can begin
// anywhere. The package stands above store, and does not know whose file it is or what is in it.
package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// chunkSize is how many bytes of a file one chunk holds, the last one aside. It never changes: what is stored was cut by it.
const chunkSize = 256 << 10

// Write keeps what the function writes, and returns the content's id. Each chunk is a unit of its own, so that calls go on
// in between. A content to which nothing refers a day after it was begun is removed, and so is what a crash leaves half.
func Write(ctx context.Context, db *store.DB, k Keys, write func(io.Writer) error) (id int64, err error) {
	w := &writer{ctx: ctx, db: db, keys: k}
	err = write(w)
	if err == nil && (len(w.raw) > 0 || w.no == 0) { // an empty file has no chunk
		err = w.flush()
	}
	err = errors.Join(err, w.wait())
	return w.id, err
}

type writer struct {
	ctx context.Context
	db  *store.DB
	no  int64 // of the chunk in raw
	raw []byte

	// While one chunk is filled the one before it is stored, by a goroutine that has all below until it has sent.
	stored chan error // nil when there is none
	keys   Keys
	id     int64 // 0 before the first chunk
	before []byte
	packer
}

func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), chunkSize-len(w.raw))]
		w.raw = append(w.raw, part...)
		if len(w.raw) == chunkSize {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
		p, n = p[len(part):], n+len(part)
	}
	return n, nil
}

// flush begins to store the chunk; its error is that of the one before.
func (w *writer) flush() error {
	if err := w.wait(); err != nil {
		return err
	}
	no := w.no
	w.no, w.raw, w.before = no+1, w.before[:0], w.raw
	w.stored = make(chan error, 1)
	go func() { w.stored <- w.store(no, w.before) }()
	return nil
}

// wait waits until the chunk before is stored.
func (w *writer) wait() error {
	if w.stored == nil {
		return nil
	}
	err := <-w.stored
	w.stored = nil
	return err
}

// store writes a chunk; the first one begins the content.
func (w *writer) store(no int64, raw []byte) error {
	data, err := w.pack(raw)
	if err != nil {
		return err
	}
	id := w.id
	if err := w.db.Do(w.ctx, store.Unit{Name: "content", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		if w.id == 0 {
			id = v.NextID()
			if err := q.InsertContent(ctx, pgdb.InsertContentParams{ID: id, Size: int64(len(raw)), CreatedAt: v.Now()}); err != nil {
				return err
			}
			Release(v, id)
		} else if err := grow(ctx, q, id, int64(len(raw))); err != nil {
			return err
		}
		if len(raw) == 0 {
			return nil
		}
		sealed, keyID := w.keys.seal(id, no, data)
		return q.InsertContentChunk(ctx, pgdb.InsertContentChunkParams{ContentID: id, No: no, Data: sealed, KeyID: keyID})
	}}); err != nil {
		return err
	}
	w.id = id
	return nil
}

// Refer is called by a unit that begins to refer to a content: it fails when the content has been removed meanwhile, and
// otherwise keeps it from being removed before the unit's commit.
func Refer(ctx context.Context, q *pgdb.Queries, id int64) error { return grow(ctx, q, id, 0) }

func grow(ctx context.Context, q *pgdb.Queries, id, more int64) error {
	_, err := q.GrowContent(ctx, pgdb.GrowContentParams{ID: id, More: more})
	return known(id, err)
}

// known tells of a content that is not there.
func known(id int64, err error) error {
	if store.NotFound(err) {
		return fmt.Errorf("content %d has been removed: it was erased, or nothing referred to it: %w", id, fs.ErrNotExist)
	}
	return err
}

// Queue is the outbox queue of contents to which perhaps nothing refers.
const Queue = "content"

// unused is how long a content may be written before something refers to it, and how long who reads it may go on when
// nothing does any more.
const unused = 24 * time.Hour

// Release is called by a unit that no longer refers to a content. It is removed a day later, unless something else does.
func Release(v *store.View, id int64) { v.AddTask(Queue, id, v.Now()+unused.Milliseconds()) }

// Remove is called by a unit after which nothing refers to a content, to have it removed at once. Who reads it finds it gone.
func Remove(ctx context.Context, v *store.View, q *pgdb.Queries, id int64) error {
	v.AddTask(Queue, id, v.Now())
	return q.DeleteContent(ctx, id)
}

// chunksPerUnit keeps the writer free for calls between the pieces of a large content that is removed.
const chunksPerUnit = 32

// Sweep removes the content of a task when nothing refers to it; it is the Work of Queue. From its first unit on nothing can
// begin to: so a crash in the middle leaves only chunks, which the next run removes.
func Sweep(ctx context.Context, db *store.DB, t pgdb.Task) error {
	kept := false
	if err := db.Do(ctx, store.Unit{Name: "sweep content", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		// The row is locked before the question: whoever was about to refer to it has committed, and is seen.
		err := Refer(ctx, q, t.RecordID)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if kept, err = q.ContentInUse(ctx, t.RecordID); err != nil {
			return err
		}
		if kept {
			v.DropTask(t.ID)
			return nil
		}
		return q.DeleteContent(ctx, t.RecordID)
	}}); err != nil || kept {
		return err
	}
	for more := true; more; {
		if err := db.Do(ctx, store.Unit{Name: "sweep content", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			gone, err := q.DeleteContentChunks(ctx, pgdb.DeleteContentChunksParams{ContentID: t.RecordID, Most: chunksPerUnit})
			if more = len(gone) == chunksPerUnit; err == nil && !more {
				v.DropTask(t.ID)
			}
			return err
		}}); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a content for reading. Its error is fs.ErrNotExist when there is no such content, and so is that of a reader
// whose content is removed meanwhile. Many goroutines may call ReadAt; one chunk is in memory.
func Open(ctx context.Context, db *store.DB, k Keys, id int64) (*io.SectionReader, error) {
	var row pgdb.Content
	err := db.Read(ctx, func(q *pgdb.Queries) (err error) { row, err = q.GetContent(ctx, id); return err })
	if err != nil {
		return nil, known(id, err)
	}
	return io.NewSectionReader(&reader{ctx: ctx, db: db, row: row, no: -1, unpacker: unpacker{keys: k}}, 0, row.Size), nil
}

type reader struct {
	ctx context.Context // of the whole reading
	db  *store.DB
	row pgdb.Content

	mu sync.Mutex // guards all below
	no int64      // of the chunk in raw; -1: none
	unpacker
}

// ReadAt is called through a SectionReader only, which keeps off and p within the content.
func (r *reader) ReadAt(p []byte, off int64) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) {
		if err := r.load(off / chunkSize); err != nil {
			return n, err
		}
		part := copy(p[n:], r.raw.Bytes()[off%chunkSize:])
		n, off = n+part, off+int64(part)
	}
	return n, nil
}

// load brings a chunk into raw and holds it against its checksum.
func (r *reader) load(no int64) error {
	if r.no == no {
		return nil
	}
	r.no = -1
	var chunk pgdb.GetContentChunkRow
	if err := r.db.Read(r.ctx, func(q *pgdb.Queries) (err error) {
		chunk, err = q.GetContentChunk(r.ctx, pgdb.GetContentChunkParams{ContentID: r.row.ID, No: no})
		return err
	}); err != nil {
		return known(r.row.ID, err)
	}
	if err := r.unpack(r.row.ID, no, r.row.Size, chunk); err != nil {
		return err
	}
	r.no = no
	return nil
}
