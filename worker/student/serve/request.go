package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
)

// picture is an encoded image of a request.
type picture struct {
	name string
	data []byte
}

// read takes the images of a request: a body of one image, a form with files, or JSON with base64.
func (s *Server) read(w http.ResponseWriter, r *http.Request) ([]picture, error) {
	if r.ContentLength > s.config.MaxBody {
		return nil, s.tooLarge()
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.config.MaxBody)
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var images []picture
	switch {
	case err != nil && r.Header.Get("Content-Type") != "":
		return nil, bad("the Content-Type cannot be read: %v", err)
	case kind == "multipart/form-data":
		images, err = s.form(multipart.NewReader(r.Body, parameters["boundary"]))
	case kind == "application/json":
		images, err = s.json(r.Body)
	case kind == "application/octet-stream" || strings.HasPrefix(kind, "image/"):
		var data []byte
		data, err = io.ReadAll(r.Body)
		images = []picture{{"image", data}}
	default:
		return nil, &failure{http.StatusUnsupportedMediaType, "media_type", fmt.Sprintf("the Content-Type is %q; send image/*, "+
			"application/octet-stream, multipart/form-data or application/json", r.Header.Get("Content-Type"))}
	}
	switch {
	case err != nil:
		return nil, s.readError(err)
	case len(images) == 0:
		return nil, bad("there is no image in the request")
	}
	return images, nil
}

func bad(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...)}
}

func (s *Server) tooLarge() error {
	return &failure{http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("a request has at most %d bytes", s.config.MaxBody)}
}

// readError says why a body could not be read: it is too large, too slow, or broken.
func (s *Server) readError(err error) error {
	var large *http.MaxBytesError
	var slow net.Error
	switch {
	case errors.As(err, new(*failure)):
		return err
	case errors.As(err, &large):
		return s.tooLarge()
	case errors.As(err, &slow) && slow.Timeout():
		return &failure{http.StatusRequestTimeout, "slow", fmt.Sprintf("the request did not arrive within %s", s.config.Timeout)}
	}
	return bad("the request cannot be read: %v", err)
}

// add appends an image within the limit.
func (s *Server) add(images []picture, name string, data []byte) ([]picture, error) {
	if len(images) == s.config.Images {
		return nil, &failure{http.StatusRequestEntityTooLarge, "too_many_images", fmt.Sprintf("a request has at most %d images",
			s.config.Images)}
	}
	if name == "" {
		name = fmt.Sprintf("image %d", len(images)+1)
	}
	return append(images, picture{name, data}), nil
}

// form takes the files of a form, whatever their fields are called.
func (s *Server) form(r *multipart.Reader) (images []picture, err error) {
	for {
		part, err := r.NextPart()
		if err == io.EOF {
			return images, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		if part.FileName() == "" {
			continue
		}
		if images, err = s.add(images, part.FileName(), data); err != nil {
			return nil, err
		}
	}
}

// json takes {"images": [{"name": "cat.jpg", "data": BASE64}]}.
func (s *Server) json(r io.Reader) (images []picture, err error) {
	var body struct {
		Images []struct {
			Name string `json:"name"`
			Data []byte `json:"data"`
		} `json:"images"`
	}
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, bad("there is more than one JSON value")
	}
	for _, i := range body.Images {
		if images, err = s.add(images, i.Name, i.Data); err != nil {
			return nil, err
		}
	}
	return images, nil
}
