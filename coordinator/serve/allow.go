package serve

import (
	"fmt"
	"strings"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/storage/location"
)

// allowed refuses a run that would read or write where this cluster's jobs may not: outside of Config.Allow and of the
// coordinators' own storage. Without Config.Allow a job may name any place that the processes reach.
func (s *server) allowed(sub cluster.Submission) error {
	if len(s.config.Allow) == 0 {
		return nil
	}
	places := []struct{ what, url string }{
		{"storage", sub.Storage},
		{"dataset.train", sub.Spec.Dataset.Train},
		{"dataset.test", sub.Spec.Dataset.Test},
		{"student.init", sub.Spec.Student.Init},
	}
	if sub.Spec.Teacher != nil {
		places = append(places, struct{ what, url string }{"teacher.model", sub.Spec.Teacher.Model})
	}
	for _, p := range places {
		if p.url == "" || s.within(p.url) {
			continue
		}
		return refuse(api.Invalid, fmt.Sprintf("%s is %s, where jobs of this cluster may not read or write; they may at or below %s",
			p.what, location.Redact(p.url), strings.Join(s.config.Allow, ", ")))
	}
	return nil
}

func (s *server) within(url string) bool {
	for _, prefix := range append([]string{s.config.Storage}, s.config.Allow...) {
		if ok, err := location.Within(url, prefix); ok && err == nil {
			return true
		}
	}
	return false
}
