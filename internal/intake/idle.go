package intake

import (
	"net"
	"sync/atomic"
	"time"
)

// idleConn pushes the deadline on with every byte, once idle is set.
type idleConn struct {
	net.Conn
	idle atomic.Int64 // a time.Duration; zero while logging in
}

func (c *idleConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved(n)
	return n, err
}

func (c *idleConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved(n)
	return n, err
}

func (c *idleConn) moved(n int) {
	if idle := c.idle.Load(); idle > 0 && n > 0 {
		_ = c.SetDeadline(time.Now().Add(time.Duration(idle)))
	}
}
