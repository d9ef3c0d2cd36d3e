package intake

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// Result puts a file into the app's /result, where clients see it only when it is whole. An older one of that name is
// replaced; who is reading it reads it to its end.
func (s *Server) Result(appID, name string, write func(io.Writer) error) error {
	if name == "" || len(name) > maxName || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") {
		return fmt.Errorf("result %q: not a file name", name)
	}
	t, err := s.tree(appID)
	if err != nil {
		return err
	}
	if err := t.place(path.Join(resultDir, name), write); err != nil {
		return fmt.Errorf("result %s of app %s: %w", name, appID, err)
	}
	return nil
}
