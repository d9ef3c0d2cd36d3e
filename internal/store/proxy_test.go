//go:build linux

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// proxy stands between databases and their server, and does harm to what goes through it.
type proxy struct {
	t        *testing.T
	listener net.Listener
	server   string // its address

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
	at    string            // guarded by mu; the statement whose batch meets with harm, once
	harm  harm              // guarded by mu
	met   chan struct{}     // guarded by mu; closed when it has
	down  bool              // guarded by mu; connections are refused
	gate  sync.RWMutex      // held while nothing is forwarded
}

// harm is what a batch of statements meets with.
type harm int

const (
	none     harm = iota
	lostThen      // the connection is cut before the batch has reached the server
	lostNow       // the connection is cut when the server has done it and its answer is under way
	hangs         // nothing gets through any more, on any connection, until resume
)

// startProxy returns a proxy for the server that the URL names, and the URL that leads through it.
func startProxy(t *testing.T, database string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, server: u.Host, conns: map[net.Conn]bool{}}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		p.listener.Close()
		p.cut()
		all.Wait()
	})
	return p, u.String()
}

// harmNext does harm to the next batch that has the statement; met is closed when it has happened.
func (p *proxy) harmNext(statement string, h harm) (met <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.harm, p.met = statement, h, make(chan struct{})
	return p.met
}

// resume lets through what was held up.
func (p *proxy) resume() { p.gate.Unlock() }

// refuse cuts all connections and takes no others, or takes them again.
func (p *proxy) refuse(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.cut()
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return // the server is down
	}
	defer server.Close()
	p.mu.Lock()
	down := p.down
	p.conns[client], p.conns[server] = true, true
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
	l := &link{proxy: p, client: client, server: server, prepared: map[string]string{}}
	var answers sync.WaitGroup
	answers.Go(l.answer)
	l.ask()
	server.Close()
	answers.Wait()
}

// link is one connection through the proxy.
type link struct {
	*proxy
	client, server net.Conn
	prepared       map[string]string // statements by name

	mu      sync.Mutex
	swallow bool // guarded by mu; the next answer does not arrive
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
	for batch, met := start, none; ; {
		switch met {
		case lostThen:
			l.client.Close()
			l.server.Close()
			return
		case lostNow:
			l.mu.Lock()
			l.swallow = true
			l.mu.Unlock()
		case none, hangs:
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
		met = l.meet(statements)
	}
}

// meet says what a batch meets with.
func (p *proxy) meet(statements []string) harm {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.harm == none || !slices.Contains(statements, p.at) {
		return none
	}
	h := p.harm
	p.harm = none
	if h == hangs {
		p.gate.Lock()
	}
	close(p.met)
	return h
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
		case 'Q', 'S', 'X', 'p': // query, sync, terminate, password
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
		if swallow && kind == 'Z' { // ready for the next: it is done
			return
		}
		if swallow {
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
