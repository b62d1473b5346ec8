// Package chaos runs a job in processes of its own, a broker, coordinators and workers, while it kills, stops and cuts
// them off by a schedule, and beside it the same job in quiet. It says whether the weights are the same, whether each
// sample was used exactly once, and how long each fault held the training up.
//
// The schedule is reproducible: of a file, or drawn from a seed. When a fault strikes is a matter of time, so the step that
// it strikes in is not; the result must not depend on it.
package chaos
