package optim

// oneCycle is the rate of step i of a cycle of n steps (Smith and Topin, "Super-Convergence", 2018), in the form of
// PyTorch's OneCycleLR with its defaults (cosine, two phases), without its cycle of the momentum:
//
//	top = PctStart * n - 1
//	i <= top    from Peak / DivFactor to Peak, along half a cosine, done = i / top
//	i > top     from Peak to Peak / DivFactor / FinalDivFactor, along half a cosine, done = (i - top) / (n - 1 - top)
//
// top need not be a whole number, nor be positive. Where PyTorch divides 0 by 0, in a phase of no length, done is 1.
func (s Schedule) oneCycle(i, n int) float64 {
	begin := s.Peak / s.DivFactor
	top := float64(s.PctStart*float64(n)) - 1
	last := float64(n - 1)
	at := float64(i)
	if at <= top {
		return anneal(begin, s.Peak, part(at, top))
	}
	return anneal(s.Peak, begin/s.FinalDivFactor, part(at-top, last-top))
}

// part is a share of a way, the whole of a way that has no length.
func part(done, whole float64) float64 {
	if whole <= 0 {
		return 1
	}
	return done / whole
}
