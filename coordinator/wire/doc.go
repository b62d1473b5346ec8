// Package wire defines what a coordinator and its workers say to each other, and the NATS subjects that they say it on.
//
// A message is a JSON object {"version":3,"kind":"heartbeat","body":{...}}. An unknown kind, a value out of its
// bounds, trailing bytes or a version of the protocol that this build does not understand is an error that says which. Unknown
// fields are left out: a newer build may send more, see Version. What a decoded message holds can be used without further checks.
//
// The conversation, worker on the left:
//
//	Register        ->                 asks to take part
//	                <-  Registered     and how often to send heartbeats; or Refused
//	Heartbeat       ->                 every interval, as a request: Ack or Refused comes back
//	                <-  Plan           pushed: the worker's part of a generation; it ends that of an earlier one
//	Began           ->                 acknowledged; who has its state from elsewhere, and rank 0
//	Report          ->                 rank 0, after each committed step; not acknowledged
//	Noticed         ->                 acknowledged; what operators should know, such as a storage that fails
//	CheckpointSaved ->                 acknowledged
//	                <-  Pause, Stop    pushed: end after a step
//	Ended           ->                 acknowledged; the worker stays for what others may ask about the last step
//	                <-  Abort          pushed when the generation is over and no other follows: carry nothing
//	Draining        ->                 acknowledged; a Plan without the worker follows, and an Abort for it
//	Leave           ->                 acknowledged
//	                <-  Inspect        pushed: describe your process
//	Inspected       ->                 not acknowledged
//
// NATS delivers at most once. A sender repeats a request until it is answered; the coordinator repeats a push when a
// heartbeat shows that the worker has not heard it. So every message may come twice.
//
// A session is a random name that a worker process gives itself: with it a process is told from an earlier one with the
// same worker id. Subjects contain the session, so that a stale process talks past those that live. A worker's user at the
// broker may use only its own subjects: nobody speaks for another, or hears what another is told.
package wire
