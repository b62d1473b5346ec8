package agent

// backlog is how many bytes that have not been sent the kernel takes from a connection before a write waits. It would
// take megabytes, a whole step of a small student: who sends on a slow line would not notice, and the worker after it would
// seem to be slow to receive. What is on its way does not count, so that long lines are filled all the same.
const backlog = 256 << 10
