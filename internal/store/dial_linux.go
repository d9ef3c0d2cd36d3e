package store

import (
	"syscall"
)

// boundUnanswered has a connection fail when what was sent is not acknowledged for 15 s: keep-alive alone looks only at
// connections at rest.
func boundUnanswered(network, _ string, c syscall.RawConn) (err error) {
	if network == "unix" {
		return nil
	}
	const tcpUserTimeout = 18 // TCP_USER_TIMEOUT
	if cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, 15000) }); cerr != nil {
		return cerr
	}
	return err
}
