package control

import "time"

// SetComeback is how long a worker is waited for whose connection has closed.
func (c *Config) SetComeback(d time.Duration) { c.comeback = d }
