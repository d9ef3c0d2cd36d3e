package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/openinfinia/infinia/internal/store"
)

// newRegistry is everything that /metrics tells beside the calls, which gate counts, and the webhooks, which outbox counts.
func newRegistry(db *store.DB, ready func(context.Context) error) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string, value func(store.Stats) float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return value(db.Stats()) }))
	}
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	counter("infinia_units_total", "Changes that were given an outcome.", func(s store.Stats) float64 { return float64(s.Units) })
	counter("infinia_groups_total", "Commits in which changes were folded.", func(s store.Stats) float64 { return float64(s.Groups) })
	counter("infinia_groups_failed_total", "Commits that the database did not take.", func(s store.Stats) float64 { return float64(s.Failed) })
	counter("infinia_groups_unknown_total", "Commits whose outcome nobody could tell.", func(s store.Stats) float64 { return float64(s.Unknown) })
	counter("infinia_writer_busy_seconds_total", "Time spent on commits and what leads to them.", func(s store.Stats) float64 { return s.Busy.Seconds() })
	gauge("infinia_units_waiting", "Changes that wait for the writer.", func() float64 { return float64(db.Stats().Waiting) })
	gauge("infinia_ready", "1 when /readyz answers that the node is ready.", func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeMost)
		defer cancel()
		if ready(ctx) != nil {
			return 0
		}
		return 1
	})
	gauge("infinia_outbox_late_seconds", "How long the oldest task that is due has been due, of all nodes; -1 when the database does not say.", func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeMost)
		defer cancel()
		late, err := db.Late(ctx)
		if err != nil {
			return -1
		}
		return late.Seconds()
	})
	return reg
}

// scrapeMost bounds what a scrape asks of the database.
const scrapeMost = 2 * time.Second
