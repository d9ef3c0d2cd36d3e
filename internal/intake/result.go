package intake

import (
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pkg/sftp"
)

// ResultFile is a file in an app's /result. Another may take its name; who is reading it never sees bytes of both.
type ResultFile struct {
	Name    string
	Size    int64
	ModTime time.Time
}

func (f ResultFile) shown() entry {
	return entry{name: f.Name, size: f.Size, mode: 0o400, mod: f.ModTime}
}

// results list /result, which nothing bounds, page by page.
type results struct {
	s     *session
	after string // the name that was listed last
}

// ListAt lists what comes next: the library asks for one page after the other.
func (l *results) ListAt(to []fs.FileInfo, _ int64) (n int, err error) {
	defer guard(l.s.log, "/result", &err)
	files, err := l.s.tree.cfg.Results(l.s.ctx, l.s.tree.app, l.after, len(to))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		to[n] = f.shown()
		l.after = f.Name
		n++
	}
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (l *results) Close() error {
	l.s.open.release()
	return nil
}

func (s *session) result(name string) (ResultFile, io.ReaderAt, error) {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, isControl) { // a database may not even take it for a text
		return ResultFile{}, nil, sftp.ErrSSHFxNoSuchFile
	}
	return s.tree.cfg.OpenResult(s.ctx, s.tree.app, name)
}
