package intake

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia/internal/storetest"
)

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// watch gives a rig that has not started a log and metrics.
func (r *rig) watch() (*logged, func(name, outcome string) float64) {
	log, reg := &logged{}, prometheus.NewRegistry()
	r.cfg.Log, r.cfg.Metrics = slog.New(slog.NewTextHandler(log, nil)), reg
	return log, func(name, outcome string) (sum float64) {
		r.t.Helper()
		families, err := reg.Gather()
		try(r.t, err)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == name && (outcome == "" || m.GetLabel()[0].GetValue() == outcome) {
					sum += m.GetCounter().GetValue()
				}
			}
		}
		return sum
	}
}

func strangers(t *testing.T, n int) (keys []ssh.Signer) {
	for range n {
		k, _ := newKey(t)
		keys = append(keys, k)
	}
	return keys
}

func TestWrongKeysByTheThousand(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.WrongKeyDelay = time.Nanosecond
	log, count := r.watch()
	r.start()
	before, _ := r.connect("demo")
	keys := strangers(t, 6) // as many as one connection may offer
	var guessers sync.WaitGroup
	for range 8 {
		guessers.Go(func() {
			for range 1000 / 6 / 8 {
				if _, _, err := r.login("demo", keys...); err == nil {
					t.Error("logged in with a wrong key")
				}
			}
		})
	}
	guessers.Wait()

	if _, _, err := r.login("demo", r.keys["demo"]); err == nil {
		t.Error("a barred address logged in")
	}
	conn, err := net.Dial("tcp", r.addr)
	try(t, err)
	defer func() { _ = conn.Close() }()
	try(t, conn.SetDeadline(time.Now().Add(deadline)))
	if text, _ := io.ReadAll(conn); !strings.HasPrefix(string(text), "Not allowed until 2025-09-03T12:10:00Z: too many wrong keys") {
		t.Errorf("a barred address is told %q", text)
	}
	if _, _, err := r.loginFrom("127.0.0.2", "demo", r.keys["demo"]); err != nil {
		t.Errorf("another address: %v", err)
	}
	put(t, before, "/upload/TDU-1.csv.part", "who has logged in stays")

	// One in each handshake may have been on its way when the bar began.
	if n := count("infinia_sftp_logins_total", "refused"); n < 100 || n > 108 {
		t.Errorf("%v wrong keys were looked at, want about 100", n)
	}
	if n := count("infinia_sftp_logins_total", "barred"); n < 100 {
		t.Errorf("%v connections were turned away", n)
	}
	if n := count("infinia_sftp_bars_total", ""); n != 1 || log.count("sftp address barred") != 1 {
		t.Errorf("%v bars, %d of them logged", n, log.count("sftp address barred"))
	}
	if n := log.count("\n"); n > 20 {
		t.Errorf("a thousand wrong keys made %d lines of log", n)
	}

	r.clock.move(10 * time.Minute)
	if _, _, err := r.login("demo", r.keys["demo"]); err != nil {
		t.Errorf("after the bar: %v", err)
	}
}

func TestNobodyIsBarredWhereItIsOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.WrongKeyDelay, r.cfg.WrongKeys = time.Nanosecond, -1
	r.start()
	keys := strangers(t, 6)
	for range 25 {
		_, _, _ = r.login("demo", keys...)
	}
	if _, _, err := r.login("demo", r.keys["demo"]); err != nil {
		t.Error(err)
	}
}

func TestWrongKeysAreAnsweredSlowly(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.WrongKeyDelay, r.cfg.LoginGrace = time.Hour, time.Hour
	_, count := r.watch()
	r.start()
	right, keys := r.keys["demo"], strangers(t, 5)
	for range 2 { // five and five
		_, _, _ = r.login("demo", keys...)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _, _ = r.login("demo", keys[0])
	}()
	storetest.Until(t, "the eleventh wrong key to be counted", func() bool { return count("infinia_sftp_logins_total", "refused") == 11 })
	// Who has the right key does not wait, and what was wrong before is forgotten.
	if _, _, err := r.login("demo", right); err != nil {
		t.Errorf("a right key: %v", err)
	}
	for range 4 {
		if _, _, err := r.login("demo", append(keys[:5:5], right)...); err != nil {
			t.Errorf("with five others before it, a right key: %v", err)
		}
	}
	select {
	case <-answered:
		t.Error("an eleventh wrong key was answered at once")
	default:
	}
	r.stop()
	<-answered
}

// The grace ends a login that waits for its answer: it does not let it go on.
func TestGraceEndsASlowAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	r.cfg.WrongKeyDelay = time.Hour
	r.start()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	client, server := net.Pipe()
	try(t, client.SetDeadline(time.Now().Add(deadline)))
	for range patience + 1 {
		r.srv.wrongKey(over, r.cfg.Log, server, netip.MustParsePrefix("192.0.2.7/32"), errLogin)
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// A key that the client names but does not have is a wrong one, too.
func TestForgedSignatureIsAWrongKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, Settings{})
	_, count := r.watch()
	r.start()
	stranger, _ := newKey(t)
	if _, _, err := r.login("demo", forged{stranger, r.keys["demo"].PublicKey()}); err == nil {
		t.Error("logged in")
	}
	storetest.Until(t, "the wrong key to be counted", func() bool { return count("infinia_sftp_logins_total", "refused") == 1 })
}

type forged struct {
	ssh.Signer
	claimed ssh.PublicKey
}

func (f forged) PublicKey() ssh.PublicKey { return f.claimed }

func TestOrigins(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.7:22":                      "192.0.2.7/32",
		"[::ffff:192.0.2.7]:22":             "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:22":         "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff:ffff:ff:f]:100": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:22":                 "fe80::/64",
	} {
		if got := origin(address(remote)).String(); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// Strangers with ever new addresses neither fill the memory nor lift the bars of others.
func TestBarsAreBounded(t *testing.T) {
	t.Parallel()
	b := bars{most: 3, last: time.Minute, now: func() time.Time { return time.Unix(0, 0) }, sources: map[netip.Prefix]*source{}}
	at := func(i int) netip.Prefix {
		a := [16]byte{0x20, 0x01}
		binary.BigEndian.PutUint32(a[4:], uint32(i))
		return netip.PrefixFrom(netip.AddrFrom16(a), 64)
	}
	for i := range 100 {
		for range 3 {
			b.wrong(at(i))
		}
	}
	for i := range 3 * maxSources {
		b.wrong(at(1000 + i))
	}
	if n := len(b.sources); n > maxSources {
		t.Errorf("%d addresses are remembered", n)
	}
	for i := range 100 {
		if _, barred := b.barred(at(i)); !barred {
			t.Errorf("%v is no longer barred", at(i))
		}
	}
	// Nor does it end when all are barred.
	for i := range 2 * maxSources {
		for range 3 {
			b.wrong(at(1_000_000 + i))
		}
	}
	if n := len(b.sources); n > maxSources {
		t.Errorf("%d barred addresses are remembered", n)
	}
}

func TestBarEnds(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	b := bars{most: 3, last: time.Minute, now: func() time.Time { return now }, sources: map[netip.Prefix]*source{}}
	from := netip.MustParsePrefix("192.0.2.7/32")
	var got []string
	step := func(after time.Duration) {
		now = now.Add(after)
		n, begins := b.wrong(from)
		_, barred := b.barred(from)
		got = append(got, fmt.Sprint(n, begins, barred))
	}
	for _, after := range []time.Duration{0, 30 * time.Second, 30 * time.Second, 0, 0, time.Second, time.Minute, -time.Hour} {
		step(after)
	}
	want := "[1 false false 2 false false 1 false false 2 false false 3 true true 4 false true 1 false false 1 false false]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
