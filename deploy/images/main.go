// Images packs the programs of the archives of a release into container images, without a container engine: for each program one
// OCI layout in a tar file, whose index has an image for each kind of machine. The same archives give the same bytes.
//
//	go run . FOLDER VERSION SECONDS
//
// FOLDER has pupil-VERSION-linux-ARCH.tar.gz, and gets pupil-PROGRAM-VERSION.oci.tar; SECONDS since 1970 are the time of everything in
// the images. It is a module of its own, so that its libraries are no dependencies of the programs. deploy/Containerfile makes the
// same images from the source.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var (
	programs      = []string{"coordinator", "worker"}
	architectures = []string{"amd64", "arm64"}
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("got %d arguments; give the folder of the archives, the version, and a time in seconds since 1970", len(args))
	}
	folder, version := args[0], args[1]
	seconds, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return fmt.Errorf("the time is %q; give seconds since 1970", args[2])
	}
	archives := map[string]map[string][]byte{}
	for _, arch := range architectures {
		name := fmt.Sprintf("pupil-%s-linux-%s.tar.gz", version, arch)
		if archives[arch], err = binaries(filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	for _, program := range programs {
		var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		for _, arch := range architectures {
			i, err := image(program, version, arch, archives[arch][program], time.Unix(seconds, 0).UTC())
			if err != nil {
				return fmt.Errorf("image of %s for %s: %w", program, arch, err)
			}
			index = mutate.AppendManifests(index, mutate.IndexAddendum{
				Add: i, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
			})
		}
		file := filepath.Join(folder, fmt.Sprintf("pupil-%s-%s.oci.tar", program, version))
		if err := write(file, "pupil/"+program+":"+version, index, time.Unix(seconds, 0)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}
