//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lock makes sure that one process alone works at path. The lock lies on a file of its own, because SQLite's locks are on
// the database itself; it ends with the process, however that ends.
func Lock(path string) (release func() error, err error) {
	f, err := os.OpenFile(path+"-lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, lockFault(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(lockFault(fmt.Errorf("lock %s-lock: %w", path, err)), f.Close())
	}
	return func() error {
		// A program that is just being started has the descriptor until it runs, and would hold the lock.
		return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
	}, nil
}

// lockFault says what to do about a lock that cannot be had.
func lockFault(err error) error {
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return errors.New("another process has it open; only one may, so stop it first")
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w: this file system cannot lock, as some on a network cannot; put the data folder on a disk of this machine", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w: the server writes in this folder; let its user, or mount it for writing", err)
	}
	return err
}
