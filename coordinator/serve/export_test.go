package serve

import (
	"context"

	"pupil/coordinator/cluster"
	"pupil/internal/metrics"
)

// Routes are the roles that the endpoints need; "" for those that need none.
func Routes() map[string]cluster.Role {
	s := &server{metrics: metrics.NewCoordinator(metrics.Vocabulary{}, func() metrics.Cluster { return metrics.Cluster{} })}
	all := map[string]cluster.Role{}
	for _, r := range s.routes(context.Background()) {
		all[r.pattern] = r.role
	}
	return all
}
