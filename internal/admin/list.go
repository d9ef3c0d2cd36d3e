package admin

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/money"
)

// ID names a record. It is text because a number of 64 bits does not survive JSON everywhere.
type ID string

// Schema is what a call checks an ID by.
func (ID) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: "^[1-9][0-9]{0,18}$", PatternDescription: "a number", Examples: []any{"1024"}}
}

func idOf(n int64) ID { return ID(strconv.FormatInt(n, 10)) }

// number is 0 for no ID; one beyond all numbers is the last of them, which no record has.
func (id ID) number() int64 {
	n, _ := strconv.ParseInt(string(id), 10, 64)
	return n
}

// Page says which part of a list is wanted. Lists begin with the newest.
type Page struct {
	Before ID  `query:"before" doc:"what comes after this one; next of the page before"`
	Most   int `query:"most" minimum:"1" maximum:"500" default:"100"`
}

func (p Page) page() (before int64, most int32) {
	if before = p.Before.number(); before == 0 {
		before = math.MaxInt64
	}
	return before, int32(p.Most)
}

// List is one page. Next, when there is more, is before of the next page.
type List[T any] struct {
	Items []T `json:"items"`
	Next  ID  `json:"next,omitempty"`
}

// list serves pages of one noun: find returns the rows with ids below before, newest first, and show makes an item of one.
func list[F interface{ page() (int64, int32) }, R, T any](s *server, path, id, summary string,
	find func(ctx context.Context, q *pgdb.Queries, f F, before int64, most int32) ([]R, error), show func(R) (T, error), key func(T) ID) {
	handle(s, http.MethodGet, path, id, summary, func(ctx context.Context, f *F) (List[T], error) {
		before, most := (*f).page()
		rows, err := read(ctx, s, func(q *pgdb.Queries) ([]R, error) { return find(ctx, q, *f, before, most+1) })
		if err != nil {
			return List[T]{}, err
		}
		l := List[T]{Items: make([]T, 0, len(rows))}
		for _, r := range rows {
			if len(l.Items) == int(most) {
				l.Next = key(l.Items[most-1])
				break
			}
			item, err := show(r)
			if err != nil {
				return l, err
			}
			l.Items = append(l.Items, item)
		}
		return l, nil
	})
}

// shown makes a show of a function that cannot fail.
func shown[R, T any](show func(R) T) func(R) (T, error) {
	return func(r R) (T, error) { return show(r), nil }
}

// get serves one record.
func get[T any](s *server, path, id, summary string, find func(ctx context.Context, q *pgdb.Queries, id int64) (T, error)) {
	handle(s, http.MethodGet, path, id, summary, func(ctx context.Context, in *struct {
		ID ID `path:"id"`
	}) (T, error) {
		return read(ctx, s, func(q *pgdb.Queries) (T, error) { return find(ctx, q, in.ID.number()) })
	})
}

func at(millis int64) time.Time { return store.Time(millis) }

func decimal(minor int64, currency string) string {
	return money.Amount{Minor: minor, Currency: money.Currency(currency)}.String()
}
