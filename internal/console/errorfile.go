package console

import (
	"errors"
	"io/fs"
	"mime"
	"net/http"

	"github.com/openinfinia/infinia"
)

// errorFile sends the error file that a link opens. Its type names no encoding: the file has that of the upload.
func (c *console) errorFile(w http.ResponseWriter, r *http.Request) {
	p := c.page(r)
	f, err := c.Engine.OpenErrorLink(r.Context(), r.PathValue("token"))
	if err != nil {
		c.refuse(w, r, err, p.DeadFile, p.ExpiredFile)
		return
	}
	file, err := c.Importer.ErrorFile(f)
	if errors.Is(err, fs.ErrNotExist) {
		err = infinia.Errorf(infinia.NotFound)
	}
	if err != nil {
		c.refuse(w, r, err, p.DeadFile, p.ExpiredFile)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		c.refuse(w, r, err, p.DeadFile, p.ExpiredFile)
		return
	}
	w.Header().Set("Content-Type", "text/csv")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.RequestNo + "_error.csv"}))
	http.ServeContent(w, r, "", info.ModTime(), file)
}
