package store

import (
	"context"
	"reflect"
	"slices"
	"strings"
)

// rowSaver writes rows by prepared statements, several at once where there are as many. After an error it writes nothing.
type rowSaver struct {
	ctx  context.Context
	conn sqliteConn
	err  error
}

func (s *rowSaver) exec(query string, args ...any) {
	if s.err == nil {
		_, s.err = s.conn.Exec(s.ctx, query, args...)
	}
}

func (s *rowSaver) insert(t *table, rows []reflect.Value) {
	var args []any
	for ; len(rows) >= manyRows; rows = rows[manyRows:] {
		args = args[:0]
		for _, r := range rows[:manyRows] {
			args = arguments(args, r, t.all)
		}
		s.exec(t.insertMany, args...)
	}
	for _, r := range rows {
		s.exec(t.insertOne, arguments(nil, r, t.all)...)
	}
}

func (s *rowSaver) update(t *table, rows []reflect.Value) {
	for _, r := range rows {
		s.exec(t.updateOne, arguments(nil, r, t.changing)...)
	}
}

var deleteMany = "DELETE FROM task WHERE id IN (" + strings.Join(slices.Repeat([]string{"?"}, manyRows), ", ") + ")"

func (s *rowSaver) deleteTasks(ids []int64) {
	for ; len(ids) >= manyRows; ids = ids[manyRows:] {
		args := make([]any, manyRows)
		for i := range args {
			args[i] = ids[i]
		}
		s.exec(deleteMany, args...)
	}
	for _, id := range ids {
		s.exec("DELETE FROM task WHERE id = $1", id)
	}
}
