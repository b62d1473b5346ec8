package gallery_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pupil/internal/random"
	"pupil/storage"
	"pupil/storage/dir"
	"pupil/storage/mem"
	"pupil/worker/student/gallery"
)

// around is a noisy direction of an identity.
func around(person, image int, noise float64) []float32 {
	centre, r := random.New(random.PurposeTest, uint64(person)), random.New(random.PurposeTest, 77, uint64(person), uint64(image))
	v := make([]float32, 16)
	for i := range v {
		v[i] = float32(3 * (centre.Normal() + noise*r.Normal()))
	}
	return v
}

func filled(t testing.TB, people, images int, noise float64) *gallery.Gallery {
	t.Helper()
	g := gallery.New("digest", 16)
	for p := range people {
		for i := range images {
			if added, err := g.Add(fmt.Sprintf("p%d", p), fmt.Sprint(i), around(p, i, noise)); err != nil || !added {
				t.Fatal(added, err)
			}
		}
	}
	g.Calibrate(0.01)
	return g
}

func TestIdentify(t *testing.T) {
	g := filled(t, 8, 4, 0.2)
	if th := g.Threshold; th == nil || th.Unknown != 32 || th.Known != 32 || th.Accepted < 0.95 {
		t.Fatalf("threshold %+v", th)
	}
	for p := range 12 {
		a, err := g.Identify(around(p, 100, 0.2), 3)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("p%d", p)
		if p >= 8 {
			want = ""
		}
		if a.Identity != want || a.Known != (want != "") || len(a.Candidates) != 3 || a.Candidates[0].Cosine < a.Candidates[1].Cosine {
			t.Errorf("person %d: %+v", p, a)
		}
		if first := a.Candidates; first[0].Identity == first[1].Identity {
			t.Errorf("an identity twice: %+v", first)
		}
	}
}

// The threshold is the smallest that at most the share of strangers reach, by the definition.
func TestCalibrate(t *testing.T) {
	g := filled(t, 10, 10, 1)
	var strangers []float64
	for i := range g.Len() {
		best := -1.0
		for j := range g.Len() {
			if g.Identities[i] == g.Identities[j] {
				continue
			}
			sum := 0.0
			for k := range g.Width {
				sum += float64(g.Values[i*g.Width+k]) * float64(g.Values[j*g.Width+k])
			}
			best = max(best, sum)
		}
		strangers = append(strangers, best)
	}
	for _, share := range []float64{0, 0.01, 0.05, 0.5, 0.999} {
		g.Calibrate(share)
		pass := func(t float64) (n int) {
			for _, s := range strangers {
				if s >= t {
					n++
				}
			}
			return n
		}
		at, allowed := g.Threshold.Cosine, int(share*100)
		if pass(at) > allowed || pass(math.Nextafter(at, -1)) <= allowed {
			t.Errorf("share %v: at the threshold %v pass %d, just below %d, of 100", share, at, pass(at), pass(math.Nextafter(at, -1)))
		}
	}
}

func TestAdd(t *testing.T) {
	g := filled(t, 2, 2, 0.2)
	if added, err := g.Add("p1", "again", around(1, 1, 0.2)); added || err != nil {
		t.Errorf("the same image again: %v, %v", added, err)
	}
	if added, err := g.Add("other", "again", around(1, 1, 0.2)); !added || err != nil {
		t.Errorf("the same image of another: %v, %v", added, err)
	}
	for want, add := range map[string]func() (bool, error){
		"has 3 features":     func() (bool, error) { return g.Add("x", "i.png", make([]float32, 3)) },
		"no identity":        func() (bool, error) { return g.Add("", "i.png", around(1, 1, 1)) },
		"features of i.png ": func() (bool, error) { return g.Add("x", "i.png", make([]float32, 16)) },
	} {
		if _, err := add(); !errors.Is(err, gallery.ErrGallery) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if !slices.Equal(g.People(), []string{"other", "p0", "p1"}) || g.Len() != 5 {
		t.Errorf("%v, %d", g.People(), g.Len())
	}
}

func TestNotReady(t *testing.T) {
	if _, err := gallery.New("d", 2).Identify([]float32{1, 2}, 1); !errors.Is(err, gallery.ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
	alone := filled(t, 1, 5, 0.1)
	if _, err := alone.Identify(around(0, 9, 0.1), 1); !errors.Is(err, gallery.ErrThreshold) {
		t.Errorf("one identity: %v", err)
	}
	if _, err := filled(t, 2, 1, 0.1).Identify([]float32{1}, 1); !errors.Is(err, gallery.ErrGallery) {
		t.Errorf("another width: %v", err)
	}
}

// Every flipped byte, and every cut, is noticed.
func TestDamage(t *testing.T) {
	data, err := filled(t, 2, 2, 0.2).Encode()
	if err != nil {
		t.Fatal(err)
	}
	g, err := gallery.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := g.Encode(); err != nil || !bytes.Equal(again, data) {
		t.Error("it does not come back as it was")
	}
	for i := range data {
		broken := slices.Clone(data)
		broken[i] ^= 0x20
		if other, err := gallery.Decode(broken); err == nil {
			if same, err := other.Encode(); err != nil || !bytes.Equal(same, data) {
				t.Fatalf("byte %d of %d is another, and the gallery is used", i, len(data))
			}
		}
		if _, err := gallery.Decode(data[:i]); !errors.Is(err, gallery.ErrGallery) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
}

// Of several writers none loses what another has written.
func TestUpdateTogether(t *testing.T) {
	const writers = 8
	folder, err := dir.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []storage.Bucket{folder, mem.New()} {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for {
					err := gallery.Update(t.Context(), b, "g", "digest", 16, fmt.Sprint("writer ", w), func(g *gallery.Gallery) error {
						_, err := g.Add(fmt.Sprint("p", w), "i", around(w, 0, 0))
						return err
					})
					if !errors.Is(err, gallery.ErrLocked) {
						if err != nil {
							t.Error(err)
						}
						return
					}
					runtime.Gosched()
				}
			})
		}
		wg.Wait()
		g, err := gallery.Load(t.Context(), b, "g", "digest")
		if err != nil || len(g.People()) != writers {
			t.Errorf("%v of %d, %v", g, writers, err)
		}
		left, err := b.List(t.Context(), "")
		if err != nil || len(left) != 1 {
			t.Errorf("%v, %v", left, err)
		}
	}
}

func TestUpdateFails(t *testing.T) {
	b := mem.New()
	no := errors.New("no")
	refuse := func(*gallery.Gallery) error { return no }
	if err := gallery.Update(t.Context(), b, "g", "digest", 16, "me", refuse); !errors.Is(err, no) {
		t.Error(err)
	}
	if left, err := b.List(t.Context(), ""); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	if err := storage.WriteAll(t.Context(), b, "g.lock", []byte("an old one")); err != nil {
		t.Fatal(err)
	}
	if err := gallery.Update(t.Context(), b, "g", "digest", 16, "me", refuse); !errors.Is(err, gallery.ErrLocked) || !strings.Contains(err.Error(), "an old one") {
		t.Error(err)
	}
	data, err := filled(t, 2, 1, 0).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteAll(t.Context(), b, "h", data); err != nil {
		t.Fatal(err)
	}
	if _, err := gallery.Load(t.Context(), b, "h", "another"); !errors.Is(err, gallery.ErrGallery) || !strings.Contains(err.Error(), "another student") {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := filled(f, 2, 1, 0.1).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := gallery.Decode(data)
		if err == nil && g.Ready() == nil {
			_, _ = g.Identify(make([]float32, g.Width), 1)
		}
	})
}

func Example() {
	g := gallery.New("digest of the student", 2)
	for _, e := range []struct {
		who      string
		features []float32
	}{{"anna", []float32{1, 0}}, {"anna", []float32{1, 0.1}}, {"bert", []float32{0, 1}}, {"bert", []float32{0.1, 1}}} {
		if _, err := g.Add(e.who, "image", e.features); err != nil {
			fmt.Println(err)
			return
		}
	}
	g.Calibrate(0.01)
	for _, features := range [][]float32{{5, 0.2}, {1, -1}} {
		a, err := g.Identify(features, 1)
		fmt.Println(a.Known, a.Identity, err)
	}
	// Output:
	// true anna <nil>
	// true anna <nil>
}
