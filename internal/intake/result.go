package intake

import (
	"io"
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

func (s *session) result(name string) (ResultFile, io.ReaderAt, error) {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, isControl) { // a database may not even take it for a text
		return ResultFile{}, nil, sftp.ErrSSHFxNoSuchFile
	}
	return s.tree.cfg.OpenResult(s.ctx, s.tree.app, name)
}
