// Package api is what the command and the coordinators say to each other over HTTP: the types of the JSON, and a client
// that finds the leader among several coordinators.
//
//	GET    /v1/status                 a Status
//	GET    /v1/runs                   a list of Run
//	POST   /v1/runs                   a Submission; answers the Run
//	GET    /v1/runs/{run}             a Detail
//	POST   /v1/runs/{run}/cancel      a Reason; answers the Run
//	GET    /v1/watch                  lines of Status: now and after each change
//	GET    /v1/events?after=N&follow=true    lines of Event, those with a sequence above N; with follow also those to come
//	GET    /v1/members                a list of Member
//	POST   /v1/members                a Member to take in; answers the list
//	DELETE /v1/members/{id}           takes a member out; answers the list
//	GET    /v1/tokens                 a list of Token
//	POST   /v1/tokens                 a Token to make; answers it with its secret
//	DELETE /v1/tokens/{name}          makes a token void; answers the list
//	GET    /v1/broker?worker=ID&session=NAME    a Broker: where that worker connects to, and as whom
//	GET    /v1/diagnosis              a Diagnosis of the coordinator that is asked, whether it leads or not
//	GET    /v1/workers/{worker}/process    a Process: what a worker is and does
//	GET    /metrics                   of this coordinator, in Prometheus' formats
//	GET    /healthz                   200 while the process lives, for anybody
//	GET    /readyz                    200 while there is a leader, for anybody
//
// All but the last two need the header "Authorization: Bearer TOKEN", of a token whose role suffices: viewer for GET,
// submitter for runs, admin for members and tokens, worker for the broker. Any coordinator answers any request: one that does not
// lead passes it on. Without a leader the answer is 503, and the client tries again. What is not well has a body
// {"error": "...", "code": "..."}. Fields may be added to /v1; none is taken away or changes its meaning.
package api
