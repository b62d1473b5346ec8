package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"pupil/storage"
)

// Folder is the prefix of all keys of this package.
const Folder = "checkpoints"

// Layouts. Version 1 named a part's object by the part alone; since version 2 the object's name holds a piece of its hash, so
// that two writers never write different bytes to one object, and metrics are in the manifest. Both are read.
const (
	oldest  = 1
	version = 2
)

const (
	manifestName = "manifest.json"
	partSuffix   = ".safetensors"
	maxManifest  = 1 << 28 // bytes
)

// Manifest describes a checkpoint.
type Manifest struct {
	Version     int    `json:"version"`            // of the layout; Save sets it
	Step        int    `json:"step"`               // committed steps
	Job         string `json:"job"`                // digest of the job
	Dataset     string `json:"dataset"`            // digest of the training images
	Teacher     string `json:"teacher"`            // digest of the teacher; "" without one
	Kernel      string `json:"kernel"`             // kernels that computed the state
	CodeVersion string `json:"code_version"`       // build that wrote it
	Numerics    int    `json:"numerics,omitempty"` // version.Numerics of that build; 0: not told
	Parts       []Part `json:"parts"`              // sorted by name; Save sets it
	// Metrics are what the run had measured at the step, for Retention. Values that are not finite are left out.
	Metrics map[string]float64 `json:"metrics,omitempty"`
	Meta    json.RawMessage    `json:"meta"` // small state that is no tensor: JSON, kept in its compact form
}

// Part is one file of a checkpoint.
type Part struct {
	Name   string `json:"name"`   // without its suffix
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // hexadecimal
}

// envelope is the content of manifest.json.
type envelope struct {
	SHA256   string          `json:"sha256"` // of the bytes of Manifest
	Manifest json.RawMessage `json:"manifest"`
}

// encode returns the bytes of manifest.json, which are a function of the manifest's values.
func (m Manifest) encode() ([]byte, error) {
	inner, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	out, err := json.Marshal(envelope{digest(inner), inner})
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return append(out, '\n'), nil
}

// decodeManifest reads the manifest of a step. It refuses all that encode does not write, so that no changed byte can
// pass.
func decodeManifest(data []byte, step int) (*Manifest, error) {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("the manifest is damaged or cut off: %w", err)
	}
	if digest(e.Manifest) != e.SHA256 {
		return nil, errors.New("the manifest does not have the hash that it holds")
	}
	var m Manifest
	if err := json.Unmarshal(e.Manifest, &m); err != nil {
		return nil, fmt.Errorf("the manifest is damaged: %w", err)
	}
	if m.Version < oldest || m.Version > version {
		return nil, fmt.Errorf("the manifest has layout version %d, this build reads versions %d to %d", m.Version, oldest, version)
	}
	if again, err := m.encode(); err != nil || !bytes.Equal(again, data) {
		return nil, errors.New("the manifest was changed after it had been written")
	}
	if m.Step != step {
		return nil, fmt.Errorf("the manifest is of step %d", m.Step)
	}
	for i, p := range m.Parts {
		if err := checkPart(p.Name); err != nil {
			return nil, err
		}
		if i > 0 && m.Parts[i-1].Name >= p.Name {
			return nil, fmt.Errorf("part %s is out of order", p.Name)
		}
		sum, err := hex.DecodeString(p.SHA256)
		if err != nil || len(sum) != sha256.Size || p.Size < 0 || p.Size == math.MaxInt64 {
			return nil, fmt.Errorf("part %s has an impossible size or hash", p.Name)
		}
	}
	if string(m.Meta) == "null" {
		m.Meta = nil
	}
	return &m, nil
}

// checkPart checks the name of a part: one element of a key.
func checkPart(name string) error {
	if strings.Contains(name, "/") || storage.ValidateKey(name+partSuffix) != nil || storage.ValidateKey(name) != nil {
		return fmt.Errorf("%q cannot name a part of a checkpoint: it must be usable as a file's name", name)
	}
	return nil
}

// folder returns the prefix of a step's keys, with a slash at the end.
func folder(step int) string { return fmt.Sprintf("%s/%08d/", Folder, step) }

func manifestKey(step int) string { return folder(step) + manifestName }

// partKey returns the key of a part.
func (m Manifest) partKey(p Part) string {
	if m.Version == oldest {
		return folder(m.Step) + p.Name + partSuffix
	}
	const piece = 16 // digits of the hash
	return folder(m.Step) + p.Name + "-" + p.SHA256[:piece] + partSuffix
}

// splitKey returns the step and the file's name of a key of this package.
func splitKey(key string) (step int, name string, ok bool) {
	rest, found := strings.CutPrefix(key, Folder+"/")
	number, name, cut := strings.Cut(rest, "/")
	if !found || !cut {
		return 0, "", false
	}
	step, err := strconv.Atoi(number)
	if err != nil || step < 0 || folder(step) != Folder+"/"+number+"/" {
		return 0, "", false
	}
	return step, name, true
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
