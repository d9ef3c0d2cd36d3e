package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Proxy stands between databases and their PostgreSQL server, and does harm to what goes through it.
type Proxy struct {
	listener net.Listener
	server   string // its address
	all      sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
	at    string            // guarded by mu; the statement whose batch meets with harm, once
	nth   int               // guarded by mu; how many such batches there are up to that one
	harm  Harm              // guarded by mu
	met   chan struct{}     // guarded by mu; closed when the harm is done
	stood bool              // guarded by mu; what met with harm was committed
	down  bool              // guarded by mu; new connections are refused
	gate  sync.RWMutex      // held while nothing is forwarded
}

// Harm is what a batch of statements meets with.
type Harm int

const (
	none      Harm = iota
	CutBefore      // the connection is cut before the batch has reached the server
	CutAfter       // the connection is cut when the server has done it and its answer is under way
	Hang           // nothing gets through any more, on any connection, until Resume
)

// StartProxy returns a proxy for the server that the URL names, and the URL that leads through it.
func StartProxy(t testing.TB, database string) (p *Proxy, through string) {
	t.Helper()
	u := parse(t, database)
	p = startProxy(t, u.Host, "tcp", "127.0.0.1:0")
	u.Host = p.listener.Addr().String()
	return p, u.String()
}

// StartSocketProxy is StartProxy on a Unix socket. When it is closed the socket is gone, and connecting fails with fs.ErrNotExist.
func StartSocketProxy(t testing.TB, database string) (p *Proxy, through string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	u := parse(t, database)
	p = startProxy(t, u.Host, "unix", filepath.Join(dir, ".s.PGSQL.5432"))
	q := u.Query()
	q.Set("host", dir)
	q.Set("port", "5432")
	u.Host, u.RawQuery = "", q.Encode()
	return p, u.String()
}

func parse(t testing.TB, database string) *url.URL {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func startProxy(t testing.TB, server, network, address string) *Proxy {
	t.Helper()
	p := &Proxy{server: server, conns: map[net.Conn]bool{}}
	var err error
	if p.listener, err = net.Listen(network, address); err != nil {
		t.Fatal(err)
	}
	p.all.Go(func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(p.Close)
	return p
}

// Close ends the proxy and cuts every connection through it.
func (p *Proxy) Close() {
	p.listener.Close()
	p.Refuse(true)
	p.Cut()
	p.all.Wait()
}

// HarmNext does harm to the next batch that has the statement; met is closed when it is
// done, before anybody notices.
func (p *Proxy) HarmNext(statement string, h Harm) (met <-chan struct{}) {
	return p.HarmNth(1, statement, h)
}

// HarmNth does harm to the nth of the batches from now on that have the statement.
func (p *Proxy) HarmNth(nth int, statement string, h Harm) (met <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nth, p.at, p.harm, p.met, p.stood = nth, statement, h, make(chan struct{}), false
	return p.met
}

// Stood says, once the harm is done, whether the server has committed the batch that it was done to: by what it answered, of
// which nobody else heard.
func (p *Proxy) Stood() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stood
}

// Spare calls off the harm that has not been done.
func (p *Proxy) Spare() { p.HarmNext("", none) }

// Resume lets through what was held up.
func (p *Proxy) Resume() { p.gate.Unlock() }

// Refuse has the proxy take no new connections, or take them again. Those that are there go on.
func (p *Proxy) Refuse(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
}

// Cut cuts every connection.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return // the server is down
	}
	defer server.Close()
	p.mu.Lock()
	down := p.down
	if !down {
		p.conns[client], p.conns[server] = true, true
	}
	p.mu.Unlock()
	if down {
		return
	}
	defer func() {
		p.mu.Lock()
		delete(p.conns, client)
		delete(p.conns, server)
		p.mu.Unlock()
	}()
	l := &link{Proxy: p, client: client, server: server, prepared: map[string]string{}}
	var answers sync.WaitGroup
	answers.Go(l.answer)
	l.ask()
	server.Close()
	answers.Wait()
}

// link is one connection through the proxy.
type link struct {
	*Proxy
	client, server net.Conn
	prepared       map[string]string // statements by name

	mu      sync.Mutex
	swallow chan struct{} // guarded by mu; when it is not nil the next answer does not arrive, and this is closed
}

// ask forwards what the client sends, a batch at a time.
func (l *link) ask() {
	length := make([]byte, 4)
	if _, err := io.ReadFull(l.client, length); err != nil {
		return
	}
	start := slices.Concat(length, make([]byte, binary.BigEndian.Uint32(length)-4))
	if _, err := io.ReadFull(l.client, start[4:]); err != nil {
		return
	}
	var met chan struct{}
	for batch, h := start, none; ; {
		switch h {
		case CutBefore:
			close(met)
			l.client.Close()
			l.server.Close()
			return
		case CutAfter:
			l.mu.Lock()
			l.swallow = met
			l.mu.Unlock()
		case none, Hang:
		}
		l.gate.RLock()
		_, err := l.server.Write(batch)
		l.gate.RUnlock()
		if err != nil {
			return
		}
		var statements []string
		if batch, statements, err = l.readBatch(); err != nil {
			return
		}
		h, met = l.meet(statements)
	}
}

// meet says what a batch meets with, and what to close when that is done.
func (p *Proxy) meet(statements []string) (h Harm, met chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.harm == none || !slices.Contains(statements, p.at) {
		return none, nil
	}
	if p.nth--; p.nth > 0 {
		return none, nil
	}
	h, p.harm = p.harm, none
	if h == Hang {
		p.gate.Lock()
		close(p.met)
	}
	return h, p.met
}

// readBatch reads up to where the client waits for an answer, and tells which statements are executed.
func (l *link) readBatch() (batch []byte, statements []string, err error) {
	for {
		kind, raw, err := readMessage(l.client)
		if err != nil {
			return nil, nil, err
		}
		batch = append(batch, raw...)
		texts := bytes.Split(raw[5:], []byte{0})
		switch kind {
		case 'P': // parse: name, text
			l.prepared[string(texts[0])] = string(texts[1])
		case 'B': // bind: portal, name
			statements = append(statements, l.prepared[string(texts[1])])
		case 'Q', 'S', 'X', 'p', 'c', 'f': // query, sync, terminate, password, end of a copy, its failure
			return batch, statements, nil
		}
	}
}

// answer forwards what the server sends.
func (l *link) answer() {
	defer l.client.Close()
	for {
		kind, raw, err := readMessage(l.server)
		if err != nil {
			return
		}
		l.mu.Lock()
		swallow := l.swallow
		l.mu.Unlock()
		if swallow != nil && kind == 'C' && string(raw[5:]) == "COMMIT\x00" { // not ROLLBACK, as it answers where a statement has failed
			l.Proxy.mu.Lock()
			l.stood = true
			l.Proxy.mu.Unlock()
		}
		if swallow != nil && kind == 'Z' { // ready for the next: it is done
			close(swallow)
			return
		}
		if swallow != nil {
			continue
		}
		l.gate.RLock()
		_, err = l.client.Write(raw)
		l.gate.RUnlock()
		if err != nil {
			return
		}
	}
}

// readMessage reads one message of PostgreSQL's protocol: its kind, and all of its bytes.
func readMessage(r io.Reader) (kind byte, raw []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < 4 {
		return 0, nil, errors.New("not a message")
	}
	raw = slices.Concat(head, make([]byte, length-4))
	_, err = io.ReadFull(r, raw[5:])
	return head[0], raw, err
}
