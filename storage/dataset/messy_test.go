package dataset_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"pupil/augment"
	"pupil/internal/random"
	"pupil/storage/dataset"
	"pupil/storage/mem"
)

// fixture is an image of package augment's tests.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../augment/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func photograph(t *testing.T) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 40, 30))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 7)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// claims is a PNG that claims a size and has no pixels.
func claims(width, height uint32) []byte {
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(chunk, width)
	chunk = binary.BigEndian.AppendUint32(chunk, height)
	chunk = append(chunk, 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), chunk...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(chunk))
}

// TestMessyFolder imports what people really have: good images of every kind that must come in, and bad ones that must be
// told, each with its reason, and cost nothing else.
func TestMessyFolder(t *testing.T) {
	root := t.TempDir()
	photo := photograph(t)
	good := map[string][]byte{
		"cats/plain.jpg": photo, "cats/UPPER.JPG": photo, "cats/deep/er/still.jpeg": photo, "cats/wrong-ending.png": photo,
		"cats/two.dots.v1.jpg": photo, "cats/spaces & (signs) #1 100%.jpg": photo, "cats/кошка 猫 🐈.jpg": photo, "cats/Katze\u0308.jpg": photo,
		"dogs/alpha.png": fixture(t, "transparent.png"), "dogs/cmyk.jpg": fixture(t, "cmyk.jpg"), "dogs/ycck.jpg": fixture(t, "ycck.jpg"),
		"dogs/exif.jpg": fixture(t, "orientation-6.jpg"), "dogs/progressive.jpg": fixture(t, "progressive.jpg"),
		"dogs/palette.bmp": fixture(t, "palette.bmp"), "dogs/lzw.tiff": fixture(t, "lzw.tiff"), "dogs/deflate.TIF": fixture(t, "deflate.tiff"),
		"dogs/lossy.webp": fixture(t, "lossy.webp"), "dogs/anim.gif": fixture(t, "transparent.gif"), "dogs/16.pgm": []byte("P5 2 1 65535 \x00\x01\xff\xff"),
		"dogs/plain.PPM": []byte("P3 1 1 255 1 2 3"), "dogs/grey-alpha.png": fixture(t, "grey-alpha.png"),
	}
	bad := map[string]struct {
		data []byte
		want string
	}{
		"cats/empty.jpg":         {nil, "the file is empty"},
		"cats/truncated.jpg":     {photo[:len(photo)/2], "decode JPEG image"},
		"cats/no-image.jpeg":     {[]byte("<html>404</html>"), "unknown format"},
		"dogs/huge.png":          {claims(100_000, 100_000), "too large"},
		"dogs/bomb.png":          {claims(8000, 8000), "cannot hold"},
		"dogs/no-pixels.gif":     {[]byte("GIF89a"), "decode GIF image"},
		"dogs/back\\slash.png":   {photo, "invalid key"},
		"dogs/control\x01.png":   {photo, "invalid key"},
		"dogs/not-utf8-\xff.png": {photo, "invalid key"},
	}
	for name, data := range good {
		file(t, filepath.Join(root, name), data)
	}
	for name, b := range bad {
		file(t, filepath.Join(root, name), b.data)
	}
	for _, ignored := range []string{
		"cats/notes.txt", "cats/.hidden.jpg", ".git/x.jpg", "cats/.ipynb_checkpoints/x.jpg", "Thumbs.db", "cats/._plain.jpg",
	} {
		file(t, filepath.Join(root, ignored), []byte("x"))
	}
	for link, target := range map[string]string{
		"cats/link.jpg": "plain.jpg", "dogs/more": "../elsewhere", "cats/loop": "..", "cats/self.jpg": "self.jpg", "dogs/nowhere.png": "missing.png",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	good["cats/link.jpg"] = photo
	file(t, filepath.Join(root, "elsewhere", "x.jpg"), photo)
	good["elsewhere/x.jpg"], good["dogs/more/x.jpg"] = photo, photo
	for name, want := range map[string]string{
		"cats/loop": "leads back", "cats/self.jpg": "symbolic links", "dogs/nowhere.png": "no such file", "dogs/fifo.png": "no regular file",
	} {
		bad[name] = struct {
			data []byte
			want string
		}{nil, want}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "dogs/fifo.png"), 0o644); err != nil {
		t.Fatal(err)
	}

	s, err := dataset.OpenSource(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dataset.Import(t.Context(), mem.New(), s, dataset.ImportOptions{}); err == nil {
		t.Error("without KeepGoing there was no error")
	}
	b := mem.New()
	m, refused, err := dataset.Import(t.Context(), b, s, dataset.ImportOptions{KeepGoing: true, ShardSize: 4, Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	got := names(t, b)
	if m.Count != len(good) || len(got) != len(good) {
		t.Errorf("%d images, want %d: %q", m.Count, len(good), got)
	}
	for i, name := range got {
		_, data, err := openDataset(t, b).Sample(t.Context(), i)
		if want, ok := good[name]; err != nil || !ok || !bytes.Equal(data, want) {
			t.Errorf("%q: %d bytes, %v", name, len(data), err)
		}
		if _, err := augment.Decode(data, 3); err != nil { // as training does
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(refused) != len(bad) {
		t.Errorf("%d images were refused, want %d: %v", len(refused), len(bad), refused)
	}
	for _, r := range refused {
		rel, err := filepath.Rel(root, r.Origin)
		if b, ok := bad[rel]; err != nil || !ok || !strings.Contains(r.Reason, b.want) {
			t.Errorf("%q was refused: %s; want %q", r.Origin, r.Reason, b.want)
		}
	}
	again := mem.New()
	if _, _, err := dataset.Import(t.Context(), again, s, dataset.ImportOptions{KeepGoing: true, ShardSize: 4, Workers: 1}); err != nil ||
		!reflect.DeepEqual(content(t, b), content(t, again)) {
		t.Errorf("another number of workers gives other bytes (%v)", err)
	}
}

// TestManyFiles imports 20,000 small files of 200 classes.
func TestManyFiles(t *testing.T) {
	root := t.TempDir()
	const count, kinds = 20_000, 200
	pixel := filepath.Join(t.TempDir(), "pixel")
	file(t, pixel, []byte("P6 1 1 255 \x01\x02\x03"))
	for i := range count {
		path := filepath.Join(root, fmt.Sprintf("c%03d", i%kinds), fmt.Sprintf("%d", i%7), fmt.Sprintf("%d.ppm", i))
		if i < 7*kinds {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Link(pixel, path); err != nil { // a fifth of the time that files of their own take
			t.Fatal(err)
		}
	}
	s, err := dataset.OpenSource(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := mem.New()
	last := 0
	m, refused, err := dataset.Import(t.Context(), b, s, dataset.ImportOptions{Progress: func(done, total int) {
		if done != last+1 || total != count {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}})
	if err != nil || m.Count != count || len(m.Classes) != kinds || len(refused) != 0 || last != count {
		t.Fatalf("%d images, %d classes, %d refused, progress %d, %v", m.Count, len(m.Classes), len(refused), last, err)
	}
	summary, err := openDataset(t, b).Inspect(t.Context(), dataset.InspectOptions{Decode: true, Workers: 3})
	if err != nil || summary.Count != count || len(summary.Damaged)+len(summary.Broken) != 0 || summary.Formats["PNM"] != count ||
		len(summary.Sides) != 1 || summary.Sides[0] != (dataset.Side{Pixels: 1, Count: count}) {
		t.Errorf("Inspect = %d images, %v, %v, %d broken, %v", summary.Count, summary.Formats, summary.Sides, len(summary.Broken), err)
	}
	for label, n := range summary.Labels {
		if n != count/kinds {
			t.Errorf("class %d has %d images", label, n)
		}
	}
	for shard := range m.Shards { // the classes are mixed: a shard has its share of each
		first, _, err := openDataset(t, b).Sample(t.Context(), shard*1000+int(random.New(random.PurposeTest, uint64(shard)).IntN(900)))
		if err != nil || first.Shard != shard {
			t.Errorf("%+v, %v", first, err)
		}
	}
}

func TestBrokenImagesAreTold(t *testing.T) {
	root := t.TempDir()
	m := image.NewNRGBA(image.Rect(0, 0, 100, 60))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * i)
	}
	m.Set(0, 0, color.White)
	file(t, filepath.Join(root, "a.png"), encode(t, m))
	file(t, filepath.Join(root, "b.png"), grey(t, 3, 3))
	b := mem.New()
	if _, err := importFolder(t.Context(), b, root, options{}); err != nil {
		t.Fatal(err)
	}
	// A dataset that another program packed: hashes are right, and an image is cut.
	objects := content(t, b)
	d := openDataset(t, b)
	s, _, err := d.Sample(t.Context(), 0)
	if err != nil || s.Name != "a.png" {
		t.Fatal(s, err)
	}
	tar := bytes.Clone(objects["shard-00000.tar"])
	copy(tar[512+60:], make([]byte, 200))
	old, sum := d.Manifest().Shards[0].SHA256, digestOf(tar)
	write(t, b, "shard-00000.tar", tar)
	write(t, b, "manifest.json", bytes.Replace(objects["manifest.json"], []byte(old), []byte(sum), 1))
	for decode, want := range map[bool]int{true: 1, false: 0} {
		summary, err := openDataset(t, b).Inspect(t.Context(), dataset.InspectOptions{Decode: decode})
		if err != nil || len(summary.Broken) != want || summary.Count != 2 || len(summary.Damaged) != 0 {
			t.Errorf("decode %t: %+v, %v", decode, summary, err)
		}
		if want > 0 && !strings.Contains(summary.Broken[0].Error(), "a.png") {
			t.Errorf("%v does not name the image", summary.Broken[0])
		}
	}
}
