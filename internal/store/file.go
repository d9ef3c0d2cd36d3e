package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// While a server works on an SQLite file, and after one has died, the last commits are in the write-ahead log beside it, and
// SQLite takes the file without its log for whole. So the file itself says that it is not: user_version in its header is
// inUse from before a server's first change until everything is in the file. A copy made by VACUUM INTO has the number
// too, but is not in WAL mode, which the header says as well: such a file never has a log.
const inUse = 1

// ErrLogMissing marks a file without the write-ahead log that belongs to it.
var ErrLogMissing = errors.New("a server has not closed this file, and the write-ahead log with its last commits is not beside it")

// file is what lies on the disk before SQLite opens it.
type file struct {
	path    string
	made    bool // just now
	walMode bool
	inUse   bool
	size    int64 // with the log
	log     int64 // 0: there is none
}

// prepareFile makes the file when there is none and looks at it.
func prepareFile(path string) (*file, error) {
	made := true
	// The keys are in it. SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		made = false
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	is, err := lookAt(f, made)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return is, nil
}

const magic = "SQLite format 3\x00"

// lookAt reads the header and closes f. This process must not have the database open: SQLite's locks on it would end with
// the descriptor.
func lookAt(f *os.File, made bool) (*file, error) {
	defer f.Close()
	is := &file{path: f.Name(), made: made}
	for _, part := range []struct {
		name string
		size *int64
	}{{is.path, &is.size}, {is.path + "-wal", &is.log}} {
		info, err := os.Stat(part.name)
		if err == nil {
			*part.size = info.Size()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	is.size += is.log
	if made {
		return is, nil
	}
	var header [100]byte
	switch _, err := f.ReadAt(header[:], 0); {
	case err == io.EOF && is.size == is.log:
		return nil, errors.New("it is empty; remove it when the books are to begin anew")
	case err != nil && err != io.EOF:
		return nil, err
	case string(header[:len(magic)]) != magic:
		return nil, errors.New("it is no SQLite database")
	}
	is.walMode = header[18] == 2
	is.inUse = is.walMode && binary.BigEndian.Uint32(header[60:]) == inUse
	return is, nil
}

// logFits says whether file and log belong together. The log is never empty while the file is in use: the mark itself is
// in it, and it is cut only when the file is whole.
func (f *file) logFits() error {
	if f.inUse && f.log == 0 {
		return fmt.Errorf("%w: put %s-wal beside it, or restore the last backup", ErrLogMissing, f.path)
	}
	if f.inUse || f.log == 0 {
		return nil
	}
	stray := !f.walMode // a new file, or a copy that never had a log
	if !stray {
		var err error
		if stray, err = hasMoreThanMarks(f.path + "-wal"); err != nil {
			return err
		}
	}
	if stray {
		return fmt.Errorf("%[1]s-wal is not its log: it belongs to the file that was here before. Put that one back, or, when this one is to stay, "+
			"remove %[1]s-wal and %[1]s-shm", f.path)
	}
	return nil
}

// hasMoreThanMarks says whether a log has pages other than the first, where the mark is. Beside a file that is not in use,
// only a server leaves one that died just after it had written a mark.
func hasMoreThanMarks(path string) (bool, error) {
	log, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer log.Close()
	var header [32]byte
	if _, err := io.ReadFull(log, header[:]); err != nil {
		return false, nil //nolint:nilerr // too short for a page
	}
	frame := make([]byte, 24+binary.BigEndian.Uint32(header[8:]))
	for {
		if _, err := io.ReadFull(log, frame); err != nil {
			return false, nil //nolint:nilerr // half a frame was never committed
		}
		if !bytes.Equal(frame[8:16], header[16:24]) { // left from an earlier round of the log
			return false, nil
		}
		if binary.BigEndian.Uint32(frame) != 1 {
			return true, nil
		}
	}
}

// markInUse has the file say that its log belongs to it. When it returns, that is on disk.
func (f *file) markInUse(ctx context.Context, pool *sql.DB) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var mark int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&mark); err != nil {
		return err
	}
	if f.inUse && f.log > 0 && mark == inUse {
		return nil
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", inUse)); err != nil {
		return err
	}
	// FULL waits for whoever reads an earlier state, such as a backup that began while no server ran.
	done, err := checkpoint(ctx, conn, "FULL")
	if err == nil && !done {
		err = errors.New("another program is reading the database; start again when it has ended")
	}
	return err
}

// markWhole moves the log into the file and has the file say that it is whole. Everything is on disk there before the mark.
// Where another program reads, a backup perhaps, file and log go on belonging together, as after a crash.
func markWhole(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	// After RESTART the log begins anew, so that the mark is all it has; TRUNCATE would leave an empty one beside a file in use.
	if done, err := checkpoint(ctx, conn, "RESTART"); err != nil || !done {
		return err
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA user_version = 0"); err != nil {
		return err
	}
	_, err := checkpoint(ctx, conn, "TRUNCATE")
	return err
}

// checkpoint says whether all of the log is in the file, and on disk.
func checkpoint(ctx context.Context, conn *sql.Conn, mode string) (done bool, err error) {
	var busy, frames, moved int
	err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &frames, &moved)
	return busy == 0 && frames == moved, err
}

var errDamaged = errors.New("the file is damaged; restore the last backup in its place, as docs/operate.md says")

// damaged marks what SQLite says of a file that is no database, or a broken one.
func damaged(err error) error {
	if e, ok := errors.AsType[*driver.Error](err); ok && !errors.Is(err, errDamaged) {
		if code := e.Code() & 0xff; code == codes.SQLITE_CORRUPT || code == codes.SQLITE_NOTADB {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	return err
}

// findDamage runs SQLite's own check: quick_check reads all pages, integrity_check also holds each index against its table.
func findDamage(ctx context.Context, db *sql.DB, check string) error {
	rows, err := db.QueryContext(ctx, "PRAGMA "+check+"(5)")
	if err != nil {
		return damaged(err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		found = append(found, strings.ReplaceAll(text, "\n", "; "))
	}
	if err := rows.Err(); err != nil {
		return damaged(err)
	}
	if len(found) == 1 && found[0] == "ok" {
		return nil
	}
	return fmt.Errorf("%w: %s", errDamaged, strings.Join(found, "; "))
}

// checkedAlways is how many bytes are checked at every start: 3.5 s of CPU per GB, so this is below one. More than that is
// checked after an unclean end and when a copy has been put in place, which is when files are found damaged; at any other
// time it would delay each start for what the daily backup finds as well.
const checkedAlways = 256 << 20

func (f *file) checkAtStart(ctx context.Context, db *sql.DB) error {
	closed := f.walMode && !f.inUse
	if f.made || closed && f.size > checkedAlways {
		return nil
	}
	return findDamage(ctx, db, "quick_check")
}
