package store

import (
	"context"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"
)

// save sends everything that the group has left, and the COMMIT behind it.
func (p *postgres) save(ctx context.Context, v *View, apart []string) error {
	b := &pgx.Batch{}
	if p.ahead {
		b.Queue("BEGIN")
		for _, app := range p.apps { // a division by zero, should another node have been there
			b.Queue("UPDATE app SET changes = changes + 1 / (changes = $2)::int WHERE app_id = $1", app, v.Apps.rows[app].Changes)
		}
	}
	s := &batchSaver{Batch: b, send: func(b *pgx.Batch) error { return p.conn.SendBatch(ctx, b).Close() }}
	v.save(s)
	if s.err != nil {
		return s.err
	}
	if len(apart) > 0 {
		b.Queue("UPDATE app SET revision = revision + 1 WHERE app_id = ANY($1)", apart)
	}
	if !p.ahead && len(p.apps) > 0 && b.Len() > 0 {
		b.Queue("UPDATE app SET changes = changes + 1 WHERE app_id = ANY($1)", p.apps)
	}
	if b.Len() > 0 {
		for _, app := range p.apps {
			if r, ok := v.Apps.rows[app]; ok {
				r.Changes++
				v.Apps.rows[app] = r
			}
		}
	}
	b.Queue("COMMIT")
	return s.send(b)
}

// batchSaver sends one statement a table, which has an array for each column, and several where there are many rows. After
// an error it sends nothing.
type batchSaver struct {
	*pgx.Batch
	send func(*pgx.Batch) error
	rows int // in the batch
	err  error
}

// In this many rows at once they are encoded, and sent.
const (
	rowsAtOnce    = 1000
	rowsUntilSent = 8000
)

// few rows are written by a statement each: PostgreSQL needs a quarter of the time that it takes it to unpack arrays.
const few = 4

func (b *batchSaver) insert(t *table, rows []reflect.Value) {
	b.write(rows, t.all, t.insertOne, t.insertAll)
}
func (b *batchSaver) update(t *table, rows []reflect.Value) {
	b.write(rows, t.changing, t.updateOne, t.updateAll)
}
func (b *batchSaver) deleteTasks(ids []int64) { b.Queue("DELETE FROM task WHERE id = ANY($1)", ids) }

func (b *batchSaver) write(rows []reflect.Value, fields []int, one, all string) {
	if len(rows) <= few {
		for _, r := range rows {
			b.Queue(one, arguments(nil, r, fields)...)
		}
		return
	}
	for piece := range slices.Chunk(rows, rowsAtOnce) {
		if b.rows += len(piece); b.rows > rowsUntilSent && b.err == nil {
			b.err = b.send(b.Batch)
			*b.Batch, b.rows = pgx.Batch{}, len(piece)
		}
		b.writeArrays(piece, fields, all)
	}
}

func (b *batchSaver) writeArrays(rows []reflect.Value, fields []int, all string) {
	arrays := make([]any, len(fields))
	for i, f := range fields {
		switch rows[0].Field(f).Kind() {
		case reflect.Int64:
			arrays[i] = column(rows, f, reflect.Value.Int)
		case reflect.String:
			arrays[i] = column(rows, f, reflect.Value.String)
		default:
			arrays[i] = column(rows, f, reflect.Value.Bytes)
		}
	}
	b.Queue(all, arrays...)
}

func column[T any](rows []reflect.Value, field int, value func(reflect.Value) T) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = value(r.Field(field))
	}
	return out
}
