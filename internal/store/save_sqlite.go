package store

import (
	"context"
	"reflect"
	"slices"
	"strings"
)

// rowWriter writes rows by prepared statements, several at once where there are as many. After an error it writes nothing.
type rowWriter struct {
	ctx  context.Context
	conn sqliteConn
	err  error
}

func (w *rowWriter) exec(query string, args ...any) {
	if w.err == nil {
		_, w.err = w.conn.Exec(w.ctx, query, args...)
	}
}

func (w *rowWriter) insert(t *table, rows []reflect.Value) {
	var args []any
	for ; len(rows) >= manyRows; rows = rows[manyRows:] {
		args = args[:0]
		for _, r := range rows[:manyRows] {
			args = arguments(args, r, t.all)
		}
		w.exec(t.insertMany, args...)
	}
	for _, r := range rows {
		w.exec(t.insertOne, arguments(nil, r, t.all)...)
	}
}

func (w *rowWriter) update(t *table, rows []reflect.Value) {
	for _, r := range rows {
		w.exec(t.updateOne, arguments(nil, r, t.changing)...)
	}
}

var deleteMany = "DELETE FROM task WHERE id IN (" + strings.Join(slices.Repeat([]string{"?"}, manyRows), ", ") + ")"

func (w *rowWriter) deleteTasks(ids []int64) {
	for ; len(ids) >= manyRows; ids = ids[manyRows:] {
		args := make([]any, manyRows)
		for i := range args {
			args[i] = ids[i]
		}
		w.exec(deleteMany, args...)
	}
	for _, id := range ids {
		w.exec("DELETE FROM task WHERE id = $1", id)
	}
}
