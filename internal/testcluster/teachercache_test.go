package testcluster_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"pupil/internal/testcluster"
)

// TestTeacherCache: the weights are the same bits without a cache, with one that fills, and with a full one of which
// some entries are damaged. A job with other terms, another student and other views of the student finds the same outputs.
func TestTeacherCache(t *testing.T) {
	const steps, lanes = 6, 8
	folder := filepath.Join(t.TempDir(), "made when", "needed")
	run := func(more ...string) *testcluster.Summary {
		t.Helper()
		s := testcluster.Run(t, demo, short(t, steps, append(more, "--workers", "2")...)...)
		return &s
	}
	cached := []string{"--teacher-cache", folder, "--teacher-cache-size", "100MB"}
	expectCounts := func(s *testcluster.Summary, found, computed int) {
		t.Helper()
		gotFound, gotComputed := counts(t, s.Folder)
		if gotFound != found || gotComputed != computed {
			t.Errorf("%d outputs came from the cache and %d were computed, want %d and %d", gotFound, gotComputed, found, computed)
		}
	}
	want := run()
	cold := run(cached...)
	expectCounts(cold, 0, steps*lanes)
	kept, err := filepath.Glob(filepath.Join(folder, "*.piece"))
	if err != nil || len(kept) != steps*lanes {
		t.Fatalf("%d entries, error %v; want %d", len(kept), err, steps*lanes)
	}
	damage(t, kept[0], func(data []byte) []byte { data[5] ^= 1; return data })
	damage(t, kept[1], func(data []byte) []byte { return data[:len(data)/2] })
	if err := os.Remove(kept[2]); err != nil {
		t.Fatal(err)
	}
	damaged := run(cached...)
	expectCounts(damaged, steps*lanes-3, 3)
	for name, s := range map[string]*testcluster.Summary{"cold": cold, "damaged": damaged} {
		if s.WeightsSHA256 != want.WeightsSHA256 {
			t.Errorf("with a %s cache: weights %.16s, want %.16s", name, s.WeightsSHA256, want.WeightsSHA256)
		}
	}

	several := append(pooled, "--set", "views.policy=independent") // a policy does not change what the teacher sees
	wantSeveral := run(several...)
	gotSeveral := run(append(several, cached...)...)
	expectCounts(gotSeveral, steps*lanes, 0)
	if gotSeveral.WeightsSHA256 != wantSeveral.WeightsSHA256 {
		t.Errorf("several terms with a warm cache: weights %.16s, want %.16s", gotSeveral.WeightsSHA256, wantSeveral.WeightsSHA256)
	}
}

// counts sums up what the workers of a run say of the teacher's outputs.
func counts(t *testing.T, run string) (found, computed int) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(run, "logs", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`from_cache=(\d+) computed=(\d+)`).FindAllStringSubmatch(string(text), -1) {
			f, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			c, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			found, computed = found+f, computed+c
		}
	}
	return found, computed
}

func damage(t *testing.T, path string, how func(data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, how(data), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
