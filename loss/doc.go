// Package loss holds the losses of distillation, exact over a global batch that is cut into lanes (DESIGN section 4).
//
// # Use
//
// One [Loss] serves a job; each lane of the global batch has a [Lane] of its own, and every lane evaluates each step:
//
//	l, err := loss.New(terms, heads, batch, seed)     // once
//	state, err := l.NewState()                        // priors, and moments of standardised features
//	lane := l.Lane(first, n)                          // once a lane, samples first..first+n-1 of the batch
//	r, err := lane.Evaluate(loss.Batch{...}, state, progress, reduce)
//	state = r.State                                   // for the next step; the same bits in every lane
//
// A head is a pair of features, of teacher and student, that terms compare: logits, or pooled features. A job can have
// several, and several terms on one.
//
// The caller's duties:
//
//  1. Reduce adds the vectors of all lanes, element by element, and gives every lane the sum. Every lane calls it
//     equally often, with vectors of the lengths [Loss.ReduceSizes] says.
//  2. All lanes get the same state and the same progress, and their sample counts add up to the global batch.
//  3. The gradient is that of the global loss with respect to this lane's features. It must not be divided by the
//     number of lanes or multiplied by it; parameter gradients of the lanes are added.
//
// # The prior mutual-information loss
//
// With N samples, C classes, teacher features f_T and student features f_S, each [N, C]:
//
//	t = softmax(f_T / tau_t), s = softmax(f_S / tau_s)                          [N, C]
//	joint, "product":         P = t^T s / N                                     [C, C], teacher's class first
//	joint, "symmetric":       P = (t^T s + s^T t) / 2N
//	prior:                    p(s) = softmax(z), z = sum_g w_g (m_g + d_g a_g)  [C]
//	posterior, "conditional": log p(s|t)_ij = log P_ij - log sum_j P_ij
//	posterior, "sample":      log p(s|t)_ij = sum_n t_ni log s_nj / sum_n t_ni
//	loss  = sum_ij P_ij (log p(s)_j - log p(s|t)_ij)
//	posterior, "mixture":     loss = -mean_n log sum_ij t_ni s_nj p(s|t)_ij / p(s)_j, with the conditional p(s|t)
//
// log x means log max(x, 1e-12), with gradient 0 under the floor. In the mixture P is a statistic of the batch like
// any other: the gradient goes through it.
//
// The channels of a head can be cut into F feature groups of equal width, as they come or in an order that is drawn from
// the seed: each group has softmaxes, joint and prior of its own, and the term is the mean over the groups. Teacher's
// features can be standardised first: (f_T - mean) / deviation by channel, with running moments over all lanes. The
// product joint, with one group and no KL start, takes a student with more or fewer classes than its teacher.
//
// # The other terms
//
// They use the softmax's own logarithm, without a floor, so that their gradients never fade:
//
//	kl:            mean_n sum_j t_nj (log t_nj - log s_nj), gradient (s - t) / (N tau_s); over groups, the mean
//	l2:            mean over n and j of (f_S - f_T)^2
//	cosine:        mean_n 1 - f_T.f_S / (|f_T| |f_S|)
//	cross_entropy: mean over labelled samples of -sum_j y_nj log s_nj, y = (1 - e) onehot + e / C
//
// kl is not multiplied by a squared temperature: with tau_t = tau_s = T, Hinton's scaling ("Distilling the Knowledge in
// a Neural Network", 2015) is a weight of T^2, and here it is the user who gives it.
//
// # Exact sums
//
// What crosses lanes is converted to fixed point sample by sample and added as int64, and integer addition does not
// depend on its order: any cut of a batch into lanes gives the same bits. The exponents follow from N and from bounds
// that hold for any input. An element of the joint is at most 1 per sample, so it is counted in units of 2^-(62-b)
// with N <= 2^b; the "sample" posterior's terms are at most -log 1e-12 < 32, five bits more; the mixture's
// responsibilities t_ni s_nj ratio_ij / q_n add up to 1 per sample. Values without a bound (kl, l2,
// cross_entropy, mixture, moments) travel as a whole part and a fraction. Only such a value, reported, is clamped (at 2^32 nat a sample);
// a gradient never is. Teacher's features that are standardised may be up to 2^16; a larger one is an error.
//
// exp and log are those of internal/random/elementary: math.Exp and math.Log give other last bits on other processors.
package loss
