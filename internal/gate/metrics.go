package gate

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	dropped prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "infinia_calls_total", Help: "Calls of the API by operation and code."},
			[]string{"operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "infinia_call_seconds", Help: "Time from a call's arrival to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}, []string{"operation"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "infinia_calls_not_recorded_total", Help: "Calls that were answered but not recorded."}),
	}
	reg.MustRegister(m.calls, m.seconds, m.dropped)
	return m
}

func (m metrics) observe(operation, code string, took time.Duration) {
	m.calls.WithLabelValues(operation, code).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
}
