package student

import "math"

// Holdout splits images of known classes in two, the same way for the same labels: of each class about a share is held
// out, spread evenly, and at least one image stays.
func Holdout(labels []int, share float64) (train, test []int) {
	seen := map[int]int{}
	for i, l := range labels {
		n := seen[l]
		seen[l]++
		// Image n of its class is held out when the whole number of images that are due rises with it.
		if n > 0 && math.Floor(float64(n+1)*share) > math.Floor(float64(n)*share) {
			test = append(test, i)
		} else {
			train = append(train, i)
		}
	}
	return train, test
}
