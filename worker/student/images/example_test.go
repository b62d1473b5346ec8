package images_test

import (
	"context"
	"fmt"
	"os"

	"pupil/worker/student/images"
)

func ExampleOpen() {
	ctx := context.Background()
	set, err := images.Open(ctx, []string{"../../../deploy/examples/fashion-mnist/test"}, os.Stdin)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set.Count, "images of", len(set.Classes), "classes")
	for item, err := range set.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		data, err := item.Read(ctx)
		fmt.Println(item.Name, set.Classes[item.Label], len(data) > 0, err)
		break
	}
	// Output:
	// 1000 images of 10 classes
	// Ankle boot/00000.png Ankle boot true <nil>
}
