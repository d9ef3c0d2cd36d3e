package storetest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/openinfinia/infinia/internal/needs"
)

// Disk is a small disk of a test's own, which can be full.
type Disk struct {
	Dir string // open to every user

	t testing.TB
}

// NewDisk mounts a disk in memory, which root alone may do.
func NewDisk(t testing.TB, megabytes int) *Disk {
	t.Helper()
	d := &Disk{Dir: filepath.Join(publicDir(t), "disk"), t: t}
	if err := os.Mkdir(d.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", d.Dir, "tmpfs", 0, fmt.Sprintf("mode=0755,size=%dm", megabytes))
	needs.Permission(t, err)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.Dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Fill takes the space that is left, and Free gives it back.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.Create(d.filling())
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		_, err := io.CopyN(f, zeros{}, int64(size))
		if errors.Is(err, syscall.ENOSPC) {
			size /= 16
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(d.filling()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *Disk) filling() string { return filepath.Join(d.Dir, "filling") }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// publicDir returns a temporary folder that another user can enter.
func publicDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}
