package cluster

// For the tests of lane plans, which no command reaches in all their forms.
var (
	PlanLanes  = planLanes
	CheckLanes = checkLanes
)
