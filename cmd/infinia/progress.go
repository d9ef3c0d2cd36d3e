package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// momentary is how many bytes are read so fast that a bar would only flicker.
const momentary = 8 << 20

// bar shows on the terminal behind w how many of most bytes are done, or how many at all when most is below zero. On anything
// else than a terminal it shows nothing.
func bar(w io.Writer, what string, most int64) *progressbar.ProgressBar {
	f, ok := w.(*os.File)
	visible := ok && term.IsTerminal(int(f.Fd())) && (most < 0 || most >= momentary)
	return progressbar.NewOptions64(most, progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(visible), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.ThemeASCII), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(most < 0))
}

// watchedSource is a file that is read several times, each time from its beginning. A bar shows how much of that is done, and
// reading stops when the command does.
type watchedSource struct {
	*os.File
	ctx      context.Context
	bar      *progressbar.ProgressBar
	from, at int64 // what the bar had when this reading began, and where in the file it is
	size     int64
}

func (s *watchedSource) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.File.Read(p)
	s.at += int64(n)
	_ = s.bar.Set64(s.from + s.at) // what cannot be shown is not worth an error
	return n, err
}

func (s *watchedSource) Seek(offset int64, whence int) (int64, error) {
	to, err := s.File.Seek(offset, whence)
	if to < s.at { // it is read once more; whatever was left counts as done
		s.from += s.size
	}
	s.at = to
	return to, err
}

// another goes on with another file, on the same bar, and closes this one.
func (s *watchedSource) another(f *os.File) (*watchedSource, error) {
	return &watchedSource{File: f, ctx: s.ctx, bar: s.bar, from: s.from + s.at, size: s.size}, s.Close()
}
