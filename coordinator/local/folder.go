package local

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	neturl "net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"pupil/coordinator/job"
	"pupil/coordinator/wire"
	"pupil/storage"
	"pupil/storage/location"
)

// The names in a run's storage, beside checkpoints/.
const (
	trainedName = "trained.json" // the same before the evaluation
	raftFolder  = "raft"         // the coordinator's durable log
	logFolder   = "logs"         // what the workers wrote
)

// ErrUsage says that a run cannot begin with what the user asked for: there is one in the storage already, there is none to
// go on with, or it is one of another job.
var ErrUsage = errors.New("wrong use")

// refusal is an ErrUsage whose message is only what follows.
type refusal struct{ error }

func (refusal) Is(target error) bool { return target == ErrUsage }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// run is the place of a run.
type run struct {
	name   string // a word, for messages and subjects
	url    string
	where  string // the folder or the URL, as people and --storage take it
	folder string // on this machine, for the log and the workers' messages; where, when that is a folder
	bucket storage.Bucket
}

// open finds or makes the place of a run. where is a URL, a path, or "" for a folder below runs/ in the current folder.
func open(ctx context.Context, c Config, now time.Time) (*run, error) {
	where := c.Storage
	if where == "" {
		var err error
		if where, err = defaultFolder(c.Spec.Name, c.Resume, now); err != nil {
			return nil, err
		}
	}
	url, err := location.FromPath(where)
	if err != nil {
		return nil, refuse("--storage: %w", err)
	}
	b, err := location.Open(ctx, url)
	if err != nil {
		return nil, refuse("--storage: %w", err)
	}
	r := &run{name: c.Spec.Name, url: url, where: url, bucket: b}
	if address, err := neturl.Parse(url); err == nil && address.Scheme == "file" {
		r.folder = filepath.FromSlash(address.Path)
		r.where = r.folder
	} else if r.folder, err = remoteFolder(c.Spec.Name, b.URL()); err != nil {
		return nil, err
	}
	have, err := r.record(ctx)
	switch {
	case errors.Is(err, storage.ErrNotFound) && c.Resume:
		return nil, refuse("%s holds no run to resume; start one without --resume", r.where)
	case errors.Is(err, storage.ErrNotFound):
		return r, r.create(ctx, c, now)
	case err != nil:
		return nil, err
	case !c.Resume:
		return nil, refuse("%s holds a run of job %s already; go on with it by --resume, or choose another --storage",
			r.where, have.Job)
	}
	return r, sameJob(r.where, have.Spec, c.Spec)
}

// remoteFolder is the folder on this machine of a run whose storage lies elsewhere. The same storage gives the same folder.
func remoteFolder(name, url string) (string, error) {
	sum := sha256.Sum256([]byte(url))
	return filepath.Abs(filepath.Join("runs", fmt.Sprintf("%s-of-%x", name, sum[:6])))
}

// defaultFolder is runs/NAME-DATE-TIME for a new run, and the newest of these for one that goes on.
func defaultFolder(name string, resume bool, now time.Time) (string, error) {
	const parent = "runs"
	if !resume {
		base := filepath.Join(parent, name+"-"+now.Format("20060102-150405"))
		folder := base
		for i := 2; ; i++ {
			if _, err := os.Lstat(folder); errors.Is(err, os.ErrNotExist) {
				return folder, nil
			}
			folder = fmt.Sprintf("%s-%d", base, i)
		}
	}
	found, err := filepath.Glob(filepath.Join(parent, name+"-[0-9]*", wire.RecordName))
	if err != nil {
		return "", err
	}
	ours := regexp.MustCompile(`^` + regexp.QuoteMeta(name) + `-\d{8}-\d{6}(-\d+)?$`) // not those of a job with a longer name
	found = slices.DeleteFunc(found, func(path string) bool { return !ours.MatchString(filepath.Base(filepath.Dir(path))) })
	if len(found) == 0 {
		return "", refuse("there is no run of job %s below %s to resume; start one without --resume, or say where it is with --storage",
			name, parent)
	}
	slices.SortFunc(found, func(a, b string) int { return modified(a).Compare(modified(b)) })
	return filepath.Dir(found[len(found)-1]), nil
}

func modified(path string) time.Time {
	if info, err := os.Stat(path); err == nil {
		return info.ModTime()
	}
	return time.Time{}
}

// student is where the finished student lies.
func (r *run) student() string {
	if r.where == r.folder {
		return filepath.Join(r.folder, wire.StudentFolder)
	}
	return storage.Prefix(r.bucket, wire.StudentFolder).URL()
}

func (r *run) record(ctx context.Context) (*wire.Record, error) {
	data, err := storage.ReadAll(ctx, r.bucket, wire.RecordName, 16<<20)
	if err != nil {
		return nil, err
	}
	have, err := wire.DecodeRecord(data)
	if err != nil {
		return nil, fmt.Errorf("%s in %s is no run's record: %w; choose another --storage", wire.RecordName, r.where, err)
	}
	return have, nil
}

func (r *run) create(ctx context.Context, c Config, now time.Time) error {
	if r.where != r.folder { // a log that is there is of a run whose storage was emptied
		if err := os.RemoveAll(filepath.Join(r.folder, raftFolder)); err != nil {
			return err
		}
	}
	return r.put(ctx, wire.RecordName, wire.Record{
		Job: c.Spec.Name, Digest: c.Spec.Digest(), Version: c.Version, Created: now.UTC(), Spec: c.Spec,
	})
}

func (r *run) put(ctx context.Context, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	data = append(data, '\n')
	return r.bucket.Put(ctx, name, strings.NewReader(string(data)), int64(len(data)))
}

// sameJob says which keys differ when the job of a run that shall go on is another one.
func sameJob(where string, have, want *job.Spec) error {
	if have.Digest() == want.Digest() {
		return nil
	}
	differ, err := differences(have, want)
	if err != nil {
		return err
	}
	if len(differ) == 0 { // the keys' meaning has changed
		return refuse("the run in %s was started by a build that reads this job otherwise (see version in %s); resume it with that one, "+
			"or start a new run", where, wire.RecordName)
	}
	return refuse("the run in %s was started with another job (%s); resume it with the same job file and --set, or start a new run",
		where, strings.Join(differ, "; "))
}

func differences(have, want *job.Spec) ([]string, error) {
	a, err := flatten(have)
	if err != nil {
		return nil, err
	}
	b, err := flatten(want)
	if err != nil {
		return nil, err
	}
	var out []string
	for key, x := range a {
		if y := b[key]; x != y {
			out = append(out, fmt.Sprintf("%s: then %s, now %s", key, x, orNothing(y)))
		}
	}
	for key, y := range b {
		if _, ok := a[key]; !ok {
			out = append(out, fmt.Sprintf("%s: then nothing, now %s", key, y))
		}
	}
	slices.Sort(out)
	return out, nil
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// flatten gives each leaf of a job its key path.
func flatten(s *job.Spec) (map[string]string, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(strings.TrimPrefix(path+"."+k, "."), x)
			}
		case []any:
			for i, x := range v {
				walk(fmt.Sprintf("%s.%d", path, i), x)
			}
		default:
			out[path] = fmt.Sprint(v)
		}
	}
	walk("", tree)
	return out, nil
}
