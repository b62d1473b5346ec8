package cluster

// For the tests of lane plans, which no command reaches in all their forms.
var CheckLanes = checkLanes

// PlanLanes plans for workers of the same pace.
func PlanLanes(lanes int, workers []string, previous []Member) []Member {
	return planLanes(lanes, workers, previous, weigh(workers, nil))
}

// PlanByPace plans for workers of different paces.
func PlanByPace(lanes int, workers []string, previous []Member, paces []Pace) []Member {
	return planLanes(lanes, workers, previous, weigh(workers, paces))
}
