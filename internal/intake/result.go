package intake

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Result puts a file into the app's /result, where clients see it only when it is whole. An older one of that name is
// replaced; who is reading it reads it to its end.
func (s *Server) Result(appID, name string, write func(io.Writer) error) error {
	t, err := s.treeOf(appID, name)
	if err != nil {
		return err
	}
	if err := t.place(path.Join(resultDir, name), write); err != nil {
		return fmt.Errorf("result %s of app %s: %w", name, appID, err)
	}
	return nil
}

// RemoveResult takes a file away from the app's /result; it need not be there.
func (s *Server) RemoveResult(appID, name string) error {
	t, err := s.treeOf(appID, name)
	if err != nil {
		return err
	}
	if err := t.root.Remove(path.Join(resultDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("result %s of app %s: %w", name, appID, err)
	}
	return nil
}

func (s *Server) treeOf(appID, name string) (*tree, error) {
	if name == "" || len(name) > maxName || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") {
		return nil, fmt.Errorf("result %q: not a file name", name)
	}
	return s.tree(appID)
}
