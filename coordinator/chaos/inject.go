package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pupil/internal/random"
)

// Injected is a fault that was made.
type Injected struct {
	Fault    string  `json:"fault"`
	Whom     string  `json:"whom"`                  // the processes
	Seconds  float64 `json:"seconds"`               // after the first committed step
	Step     int     `json:"step"`                  // the newest committed step then
	Recovery float64 `json:"recovery_ms"`           // until the next step was committed; -1: none was
	Lasts    float64 `json:"for_ms,omitempty"`      // until the process is back
	Pause    float64 `json:"pause_ms"`              // longest time between two steps that were committed one after the other, around the fault
	Steps    int     `json:"steps_meanwhile"`       // that were committed from the fault until the process was back
	Failover float64 `json:"failover_ms,omitempty"` // of a leader: until another one, or the same, led again; 0: none was seen to
	Skipped  string  `json:"skipped,omitempty"`

	fault Fault
	at    time.Time
}

// injector makes the faults of a schedule.
type injector struct {
	site    *site
	say     func(string)
	random  *random.Stream
	place   string // URL of the run's storage, out of reach of faults
	keep    func() // told after each fault; nil: nobody wants to know
	pending sync.WaitGroup

	mu   sync.Mutex // of the seats' busy, of the site's list of workers, and of made
	made []Injected
}

// run makes the faults until the schedule or ctx ends, and waits until all processes are back. A fault that finds nobody to
// strike is tried until the next one is due.
func (in *injector) run(ctx context.Context, schedule Schedule, t *timeline) {
	begin := time.Now()
	for k, f := range schedule.Faults {
		if pause(ctx, time.Until(begin.Add(f.At))) != nil {
			break
		}
		until := begin.Add(f.At)
		if k+1 < len(schedule.Faults) {
			until = begin.Add(schedule.Faults[k+1].At)
		}
		i := in.try(ctx, f, until)
		i.Step, _ = t.now()
		i.Seconds = i.at.Sub(begin).Seconds()
		in.say(fmt.Sprintf("%6.1fs  step %-5d %d of %d: %s %s%s", i.Seconds, i.Step, k+1, len(schedule.Faults), f, i.Whom, skipped(i.Skipped)))
		in.mu.Lock()
		in.made = append(in.made, i)
		n := len(in.made) - 1
		in.mu.Unlock()
		if f.Whom == leader && i.Skipped == "" && f.Do != Slow && f.Do != Lose {
			in.pending.Go(func() { in.awaitLeader(ctx, n, i.Whom) })
		}
		if in.keep != nil {
			in.keep()
		}
	}
	in.pending.Wait()
}

// try makes a fault, and tries again for a while when it cannot be made.
func (in *injector) try(ctx context.Context, f Fault, until time.Time) Injected {
	for {
		i := Injected{Fault: string(f.Do), Lasts: float64(f.For.Milliseconds()), fault: f, at: time.Now()}
		whom, err := in.inject(ctx, f)
		if i.Whom = whom; err == nil {
			return i
		}
		i.Skipped = err.Error()
		if whom != "" || time.Now().After(until) || pause(ctx, time.Second/5) != nil { // struck in part: not once more
			return i
		}
	}
}

// list is what was made up to now.
func (in *injector) list() []Injected {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.made)
}

func skipped(why string) string {
	if why == "" {
		return ""
	}
	return ": skipped, " + why
}

var errNobody = errors.New("there is no such process that lives and is not struck already")

// inject makes one fault, and lets it be over later.
func (in *injector) inject(ctx context.Context, f Fault) (whom string, err error) {
	switch {
	case f.Do == Join:
		return in.join(ctx, f)
	case f.Do == Corrupt:
		return corrupt(ctx, in.place)
	case f.Do == Part:
		return in.part(ctx, f)
	case f.Whom == runsBucket:
		return "", in.strikeBucket(ctx, f)
	case strings.HasPrefix(f.Whom, "worker"):
		return in.strikeWorkers(ctx, f)
	}
	targets := in.others(ctx, f.Whom)
	if len(targets) == 0 {
		return "", errNobody
	}
	for _, p := range targets {
		if err := in.strike(ctx, p, f); err != nil {
			return names(targets), err
		}
	}
	return names(targets), nil
}

// awaitLeader notes how long it takes until a coordinator leads after the leader was struck: another one, or the same when it
// is back before the others have noticed.
func (in *injector) awaitLeader(ctx context.Context, n int, was string) {
	in.mu.Lock()
	at := in.made[n].at
	in.mu.Unlock()
	others := slices.Clone(in.site.addresses) // the one that was struck may be there, and not know yet
	for i, p := range in.site.coordinators {
		if p.name == was && len(others) > 1 {
			others = slices.Delete(others, i, i+1)
		}
	}
	client, err := in.site.ask(others)
	if err != nil {
		in.say("who leads: " + err.Error())
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for pause(ctx, 10*time.Millisecond) == nil {
		brief, cancel := context.WithTimeout(ctx, time.Second/2) // who is asked may still wait for the leader that was
		status, err := client.Status(brief)
		cancel()
		if err == nil && status.Leader != "" {
			in.mu.Lock()
			in.made[n].Failover = float64(time.Since(at).Microseconds()) / 1000
			in.mu.Unlock()
			return
		}
	}
}

func names(all []*process) string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.name
	}
	return strings.Join(out, ", ")
}

// strike strikes a process that is no worker, and brings it back after f.For.
func (in *injector) strike(ctx context.Context, p *process, f Fault) error {
	if err := hit(p, f.Do); err != nil {
		return err
	}
	in.pending.Go(func() {
		_ = pause(ctx, f.For) // at the end of all, too, it must come back: others may need it
		switch f.Do {
		case Kill:
			in.restart(p)
		case Stop:
			p.signal(syscall.SIGCONT)
		default:
			in.mended(p.link.set(condition{}))
		}
	})
	return nil
}

// hit does a fault's beginning to a process.
func hit(p *process, k Kind) error {
	switch k {
	case Kill:
		p.kill()
	case Stop:
		p.signal(syscall.SIGSTOP)
	case Leave:
		p.signal(syscall.SIGTERM)
	default:
		return p.link.set(condition{cut: k == Cut, slow: k == Slow, lose: k == Lose})
	}
	return nil
}

// mended tells of a fault that could not be ended.
func (in *injector) mended(err error) {
	if err != nil {
		in.say("a fault cannot be ended: " + err.Error())
	}
}

// part lets the hosts fall into two halves, and joins them again after f.For.
func (in *injector) part(ctx context.Context, f Fault) (string, error) {
	in.mu.Lock()
	all := in.site.processes()
	in.mu.Unlock()
	var side []*process
	for i, k := range in.random.Perm(len(all)) {
		if i < len(all)/2 {
			side = append(side, all[k])
		}
	}
	hosts := make([]*host, len(side))
	for i, p := range side {
		hosts[i] = p.host
	}
	if err := in.site.network.part(hosts); err != nil {
		return names(side), err
	}
	in.pending.Go(func() {
		_ = pause(ctx, f.For)
		in.mended(in.site.network.part(nil))
		in.pending.Go(func() { in.revive(ctx) })
	})
	return names(side), nil
}

// revive starts workers anew that were expelled while they were parted from the others, which ends their processes.
func (in *injector) revive(ctx context.Context) {
	_ = pause(ctx, 2*in.site.timeout)
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, w := range in.site.workers {
		if !w.busy && !w.running() {
			in.restart(w.process)
		}
	}
}

// strikeBucket lets writes to the runs' storage fail.
func (in *injector) strikeBucket(ctx context.Context, f Fault) error {
	if err := in.site.bucket.strike(ctx, f.Do); err != nil {
		return err
	}
	in.pending.Go(func() {
		_ = pause(ctx, f.For)
		in.mended(in.site.bucket.mend(f.Do))
	})
	return nil
}

func (in *injector) restart(p *process) {
	if p.running() {
		return
	}
	if err := p.start(); err != nil {
		in.say(err.Error())
	}
}

// strikeWorkers strikes one worker or all.
func (in *injector) strikeWorkers(ctx context.Context, f Fault) (string, error) {
	chosen := in.choose(f.Whom)
	if len(chosen) == 0 {
		return "", errNobody
	}
	var struck []*process
	for _, w := range chosen {
		struck = append(struck, w.process)
		if err := hit(w.process, f.Do); err != nil {
			return names(struck), err
		}
		in.pending.Go(func() { in.mend(ctx, w, f) })
	}
	return names(struck), nil
}

// grace is the time that a worker which is asked to leave has for it.
const grace = time.Minute

// mend ends a worker's fault.
func (in *injector) mend(ctx context.Context, w *seat, f Fault) {
	_ = pause(ctx, f.For)
	switch f.Do {
	case Kill:
		in.restart(w.process)
	case Leave:
		if !w.leave(grace) {
			in.say(fmt.Sprintf("%s did not leave within %s", w.name, grace))
		}
		in.restart(w.process)
	case Stop:
		w.signal(syscall.SIGCONT)
		in.again(ctx, w)
	case Cut, Slow, Lose:
		in.mended(w.link.set(condition{}))
		in.again(ctx, w)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	w.busy = false
}

// again starts a worker anew that was expelled while it was silent, which ends its process.
func (in *injector) again(ctx context.Context, w *seat) {
	t := time.NewTimer(2 * in.site.timeout)
	defer t.Stop()
	select {
	case <-w.ended():
		in.restart(w.process)
	case <-t.C:
	case <-ctx.Done():
	}
}

// choose takes workers that live and are not struck already. One stays untouched by random faults, so that the state is
// somewhere.
func (in *injector) choose(whom string) []*seat {
	in.mu.Lock()
	defer in.mu.Unlock()
	var able []*seat
	for _, w := range in.site.workers {
		if !w.busy && w.running() && (whom == anyWorker || whom == allWorkers || w.name == whom) {
			able = append(able, w)
		}
	}
	if whom == anyWorker {
		if len(able) < 2 {
			return nil
		}
		k := in.random.IntN(len(able))
		able = able[k : k+1]
	}
	for _, w := range able {
		w.busy = true
	}
	return able
}

// join adds a worker, for a while or for good.
func (in *injector) join(ctx context.Context, f Fault) (string, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	w, err := in.site.addWorker(ctx)
	if err != nil {
		return "", err
	}
	if f.For == 0 {
		return w.name, nil
	}
	w.busy = true
	in.pending.Go(func() {
		_ = pause(ctx, f.For)
		if !w.leave(grace) {
			in.say(fmt.Sprintf("%s did not leave within %s", w.name, grace))
		}
	})
	return w.name, nil
}

// brokers is the process of the broker, or a coordinator with the one that carries most of the workers, as far as that is known.
func (in *injector) brokers() []*process {
	if in.site.broker != nil {
		return []*process{in.site.broker}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if p := in.site.busiest(); p != nil {
		return []*process{p}
	}
	return []*process{in.site.coordinators[in.random.IntN(len(in.site.coordinators))]}
}

// others are the processes of a group that is not one of workers, as far as they live.
func (in *injector) others(ctx context.Context, whom string) []*process {
	s := in.site
	var chosen []*process
	switch whom {
	case broker:
		chosen = in.brokers()
	case allCoordinators:
		chosen = s.coordinators
	case leader, follower:
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // without a leader there is none to strike
		defer cancel()
		status, err := s.client.Status(ctx)
		if err != nil {
			return nil
		}
		for _, p := range s.coordinators {
			if (p.name == status.Leader) == (whom == leader) {
				chosen = append(chosen, p)
			}
		}
		if whom == follower && len(chosen) > 1 {
			k := in.random.IntN(len(chosen))
			chosen = chosen[k : k+1]
		}
	default:
		for _, p := range s.coordinators {
			if p.name == whom {
				chosen = append(chosen, p)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(chosen), func(p *process) bool { return !p.running() })
}
