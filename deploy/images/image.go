package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	user = 65532
	home = "/var/lib/pupil"
)

// ports are those that a program may listen on.
var ports = map[string][]string{"coordinator": {"4222", "7070", "7071", "9090"}, "worker": {"4223", "9090"}}

// image is a program alone, with the certificates of public authorities, for a user without rights.
func image(program, version, arch string, binary []byte, at time.Time) (v1.Image, error) {
	base, err := layer(system(), at)
	if err != nil {
		return nil, err
	}
	own, err := layer([]entry{{name: program, mode: 0o755, data: binary}}, at)
	if err != nil {
		return nil, err
	}
	i, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		mutate.Addendum{Layer: base, History: v1.History{Created: v1.Time{Time: at}, CreatedBy: "authorities, user, folders"}},
		mutate.Addendum{Layer: own, History: v1.History{Created: v1.Time{Time: at}, CreatedBy: program + " " + version}})
	if err != nil {
		return nil, err
	}
	c, err := i.ConfigFile()
	if err != nil {
		return nil, err
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Created = "linux", arch, v1.Time{Time: at}
	c.Config = v1.Config{
		User: "65532:65532", WorkingDir: home, Env: []string{"HOME=" + home}, Entrypoint: []string{"/" + program}, Cmd: []string{"--help"},
		ExposedPorts: map[string]struct{}{},
		Labels: map[string]string{
			"org.opencontainers.image.title": "pupil/" + program, "org.opencontainers.image.version": version,
		},
	}
	for _, port := range ports[program] {
		c.Config.ExposedPorts[port+"/tcp"] = struct{}{}
	}
	return mutate.ConfigFile(i, c)
}

// entry is a file of a layer, or a folder when it has no data.
type entry struct {
	name  string
	mode  int64
	owner int
	data  []byte
}

// system is what the image has besides the program.
func system() []entry {
	return []entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, data: []byte("pupil:x:65532:65532::" + home + ":/sbin/nologin\n")},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: authorities()},
		{name: "tmp/", mode: 0o755, owner: user},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: "var/lib/pupil/", mode: 0o755, owner: user},
		{name: "var/lib/pupil/coordinator/", mode: 0o755, owner: user},
		{name: "var/lib/pupil/secrets/", mode: 0o755, owner: user},
		{name: "var/lib/pupil/worker/", mode: 0o755, owner: user},
	}
}

// authorities are those that Mozilla trusts without conditions, which a file cannot express.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.Bytes()
}

// layer packs files.
func layer(files []entry, at time.Time) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.data)), ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if f.data == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
