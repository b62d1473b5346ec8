package inspect_test

import (
	"fmt"

	"pupil/worker/inspect"
	"pupil/worker/nn"
)

func Example() {
	n, err := nn.New(nn.Config{Architecture: "mobilenet_v2", Width: 1, Outputs: 1000, Size: 224, Channels: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := inspect.Of(n, inspect.Config{Batch: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Total.Parameters, "parameters,", r.Total.MultiplyAdds/1e6, "million multiply-adds")
	// Output: 3504872 parameters, 300 million multiply-adds
}
