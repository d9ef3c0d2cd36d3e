package main

import (
	"bytes"
	"io"
	"net/http"
)

// wire is what went over the network for one call.
type wire struct {
	url, status       string
	request, response []byte
}

// wireClient is an HTTP client that shows what it sends and receives.
func wireClient(show func(wire)) *http.Client {
	return &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		w := wire{url: req.URL.String()}
		var err error
		if w.request, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(w.request))
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if w.response, err = io.ReadAll(resp.Body); err != nil {
			return nil, err
		}
		w.status = resp.Status
		resp.Body = io.NopCloser(bytes.NewReader(w.response))
		show(w)
		return resp, nil
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
