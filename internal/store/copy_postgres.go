package store

import (
	"context"
	"reflect"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// copyTradeRows writes rows by COPY, on a connection of its own.
func (p *postgres) copyTradeRows(ctx context.Context, runID int64, rows []pgdb.TradeRow) (copied bool, err error) {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return false, absent(ctx, err)
	}
	defer conn.Release()
	return true, fault(pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var values []any
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"trade_row"}, tradeRows.names, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			values = arguments(values[:0], reflect.ValueOf(&rows[i]).Elem(), tradeRows.all)
			return values, nil
		})); err != nil {
			return err
		}
		return pgdb.New(tx).CountTradeRows(ctx, pgdb.CountTradeRowsParams{ID: runID, More: int64(len(rows))})
	}))
}
