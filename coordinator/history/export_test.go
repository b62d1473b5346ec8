package history

// Loaded says whether the storage of a run was read.
func (h *History) Loaded(run string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.runs[run] != nil && h.runs[run].loaded
}
