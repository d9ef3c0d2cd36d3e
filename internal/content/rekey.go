package content

import (
	"context"
	"errors"
	"io/fs"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// RekeyQueue is the outbox queue of the tasks that have what is kept encrypted under the first key.
const RekeyQueue = "content-key"

// Rekey encrypts under the first key what is in clear or under another one; it is the Work of RekeyQueue. Each unit takes a
// few chunks of one content, so that calls go on in between and a crash leaves only fewer of them.
func Rekey(ctx context.Context, db *store.DB, k Keys, t pgdb.Task) error {
	var ids []string
	if err := db.Read(ctx, func(q *pgdb.Queries) (err error) { ids, err = q.ListChunkKeys(ctx); return err }); err != nil {
		return err
	}
	for _, id := range ids {
		if _, known := k.find(id); id == k.First() || !known && id != "" || k.First() == "" {
			continue // what is lost stays as it is
		}
		if err := rekeyFrom(ctx, db, k, id); err != nil {
			return err
		}
	}
	return db.Do(ctx, store.Unit{Name: "encrypt contents", Alone: func(_ context.Context, v *store.View, _ *pgdb.Queries) error {
		v.DropTask(t.ID)
		return nil
	}})
}

func rekeyFrom(ctx context.Context, db *store.DB, k Keys, keyID string) error {
	for {
		var chunks []pgdb.ListChunksUnderKeyRow
		if err := db.Read(ctx, func(q *pgdb.Queries) (err error) {
			chunks, err = q.ListChunksUnderKey(ctx, pgdb.ListChunksUnderKeyParams{KeyID: keyID, Most: chunksPerUnit})
			return err
		}); err != nil || len(chunks) == 0 {
			return err
		}
		content := chunks[0].ContentID
		if err := db.Do(ctx, store.Unit{Name: "encrypt contents", Alone: func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
			// The lock keeps others from writing a chunk between its reading and its writing here.
			err := Refer(ctx, q, content)
			if errors.Is(err, fs.ErrNotExist) { // what a sweep has not come to yet
				_, err := q.DeleteContentChunks(ctx, pgdb.DeleteContentChunksParams{ContentID: content, Most: chunksPerUnit})
				return err
			}
			for _, c := range chunks {
				if err != nil {
					return err
				}
				if c.ContentID == content {
					err = rekeyChunk(ctx, q, k, c)
				}
			}
			return err
		}}); err != nil {
			return err
		}
	}
}

func rekeyChunk(ctx context.Context, q *pgdb.Queries, k Keys, c pgdb.ListChunksUnderKeyRow) error {
	chunk, err := q.GetContentChunk(ctx, pgdb.GetContentChunkParams(c))
	if err != nil {
		return known(c.ContentID, err)
	}
	data, err := k.open(c.ContentID, c.No, chunk)
	if err != nil {
		return damaged(c.ContentID, c.No, err)
	}
	sealed, keyID := k.seal(c.ContentID, c.No, data)
	return q.UpdateContentChunk(ctx, pgdb.UpdateContentChunkParams{ContentID: c.ContentID, No: c.No, Data: sealed, KeyID: keyID})
}
