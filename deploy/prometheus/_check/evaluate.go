package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// between is the time that passes from the scrapes before to those after.
const between = 30 * time.Second

// quiet are panels to which a cluster that trains on loopback, without certificates and troubles, has nothing to show.
var quiet = []string{"Held up by", "Certificates"}

// scrapes are the series of processes, as Prometheus keeps them. It implements storage.Queryable.
type scrapes struct {
	series map[string]*promql.Series // by its labels
	at     time.Time                 // of the newest
}

// readScrapes reads what processes have told: files INSTANCE-before.prom and INSTANCE-after.prom of a folder.
func readScrapes(folder string) (*scrapes, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.prom"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("there are no scrapes in %s", folder), err)
	}
	slices.Sort(files)
	slices.Reverse(files) // before, after
	s := &scrapes{series: map[string]*promql.Series{}, at: time.Now()}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".prom")
		at, instance := s.at, strings.TrimSuffix(name, "-after")
		if rest, ok := strings.CutSuffix(name, "-before"); ok {
			at, instance = s.at.Add(-between), rest
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := s.take(data, instance, at); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return s, nil
}

// take adds a scrape, with the labels that Prometheus gives it.
func (s *scrapes) take(data []byte, instance string, at time.Time) error {
	p := textparse.NewPromParser(data, labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, v := p.Series()
		var told labels.Labels
		p.Labels(&told)
		b := labels.NewBuilder(told)
		b.Set("job", "pupil")
		b.Set("instance", instance)
		set := b.Labels()
		x := s.series[set.String()]
		if x == nil {
			x = &promql.Series{Metric: set}
			s.series[set.String()] = x
		}
		x.Floats = append(x.Floats, promql.FPoint{T: at.UnixMilli(), F: v})
	}
}

// Querier implements storage.Queryable.
func (s *scrapes) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		set := &found{at: -1}
		for _, x := range s.series {
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(x.Metric.Get(m.Name)) }) {
				set.all = append(set.all, x)
			}
		}
		slices.SortFunc(set.all, func(a, b *promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
		return set
	}}, nil
}

// found is a storage.SeriesSet.
type found struct {
	all []*promql.Series
	at  int
}

func (f *found) Next() bool                      { f.at++; return f.at < len(f.all) }
func (f *found) At() storage.Series              { return promql.NewStorageSeries(*f.all[f.at]) }
func (*found) Err() error                        { return nil }
func (*found) Warnings() annotations.Annotations { return nil }

// evaluate asks a query as a panel does, for all jobs and runs, and says that it shows something.
func (s *scrapes) evaluate(engine *promql.Engine, expr string) error {
	ctx := context.Background()
	all := strings.NewReplacer("$job", ".+", "$run", ".+").Replace(expr)
	q, err := engine.NewInstantQuery(ctx, s, nil, all, s.at)
	if err != nil {
		return err
	}
	defer q.Close()
	r := q.Exec(ctx)
	v, err := r.Vector()
	if err == nil && len(v) == 0 {
		err = errors.New("it shows nothing")
	}
	return err
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{MaxSamples: 1 << 20, Timeout: time.Minute, LookbackDelta: 5 * time.Minute})
}
