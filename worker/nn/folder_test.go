package nn_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pupil/storage/dir"
	"pupil/worker/nn"
)

var folderConfig = nn.ModelConfig{
	Config:    tiny,
	Normalize: &nn.Normalize{Mean: []float64{0.25}, Std: []float64{0.5}},
	Classes:   []string{"left", "right"},
}

func TestFolderRoundTrip(t *testing.T) {
	path := t.TempDir()
	b, err := dir.New(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	n := mustNew(t, tiny)
	s := n.NewState()
	n.Init(s, 5)
	if err := nn.SaveFolder(ctx, b, n, s, folderConfig, nil); err != nil {
		t.Fatal(err)
	}
	_, loaded, config, digest, err := nn.LoadFolder(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(loaded.Params, s.Params) || !slices.Equal(loaded.Buffers, s.Buffers) {
		t.Error("other weights")
	}
	if !reflect.DeepEqual(config, folderConfig) {
		t.Errorf("config %+v", config)
	}
	list := ""
	for _, name := range []string{"config.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		list += fmt.Sprintf("%x  %s\n", sha256.Sum256(data), name)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(list))); digest != want {
		t.Errorf("digest %s, want %s", digest, want)
	}
	imported := n.NewState()
	if err := n.ImportFolder(ctx, imported, b); err != nil || !slices.Equal(imported.Params, s.Params) {
		t.Errorf("ImportFolder: %v", err)
	}
}

func TestFolderErrors(t *testing.T) {
	ctx := context.Background()
	n := mustNew(t, tiny)
	s := n.NewState()
	other := folderConfig
	other.Width = 0.25
	path := t.TempDir()
	b, err := dir.New(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := nn.SaveFolder(ctx, b, n, s, other, nil); err == nil {
		t.Error("a config of another network is saved")
	}
	if _, _, _, _, err := nn.LoadFolder(ctx, b); err == nil {
		t.Error("an empty folder is a model")
	}
	if err := nn.SaveFolder(ctx, b, n, s, folderConfig, nil); err != nil {
		t.Fatal(err)
	}
	data, err := other.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "config.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, _, _, err := nn.LoadFolder(ctx, b); err == nil || !strings.Contains(err.Error(), "of another shape") ||
		!strings.Contains(err.Error(), "model.safetensors") {
		t.Errorf("weights of another network: got %v", err)
	}
}

// resnet is a config without its closing brace.
const resnet = `{"architecture":"resnet18","width":1,"outputs":2,"size":32,"channels":1`

var brokenConfigs = map[string]string{
	resnet + `,"widht":2}`:                          "widht",
	resnet + `} {}`:                                 "more than one",
	resnet + `,"classes":["a"]}`:                    "classes has 1",
	resnet + `,"architecture":"resnet19"}`:          "resnet19",
	resnet + `,"normalize":{"mean":[0,1]}}`:         "2 means",
	resnet + `,"normalize":{"mean":[0],"std":[0]}}`: "above 0",
	resnet + `,"outputs":1e99}`:                     "outputs",
	resnet + `,"projection":-1}`:                    "projection is -1",
	resnet + `,"resize":31}`:                        "resize is 31",
	``:                                              "EOF",
	`[`:                                             "EOF",
}

func TestBrokenConfigs(t *testing.T) {
	for text, want := range brokenConfigs {
		if _, err := nn.DecodeModelConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func FuzzDecodeModelConfig(f *testing.F) {
	for text := range brokenConfigs {
		f.Add([]byte(text))
	}
	good, err := folderConfig.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := nn.DecodeModelConfig(data)
		if err != nil {
			return
		}
		encoded, err := c.Encode()
		if err != nil {
			t.Fatalf("%+v is decoded and cannot be encoded: %v", c, err)
		}
		again, err := nn.DecodeModelConfig(encoded)
		if err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		twice, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if once, _ := json.Marshal(c); string(once) != string(twice) {
			t.Errorf("%s became %s", once, twice)
		}
	})
}
