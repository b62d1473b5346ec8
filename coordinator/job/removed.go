package job

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// removed are keys of earlier versions, with what to write instead.
func removed() map[string]string {
	const features = "is a key of an earlier version: each term of the loss now names its own; remove it, and give " +
		"each term features: logits or pooled"
	return map[string]string{"teacher.features": features, "student.features": features}
}

// UnmarshalJSON reads what MarshalJSON wrote. Unlike other structs a Spec takes no unknown key, for without it the job
// would be another one. A record with a key of an earlier version gives an error that says what to write instead.
func (s *Spec) UnmarshalJSON(data []byte) error {
	var sections struct {
		Teacher, Student map[string]json.RawMessage
	}
	if err := json.Unmarshal(data, &sections); err == nil { // else plain says what is wrong
		for _, x := range []struct {
			name string
			keys map[string]json.RawMessage
		}{{"teacher", sections.Teacher}, {"student", sections.Student}} {
			for key := range x.keys {
				if advice, ok := removed()[below(x.name, key)]; ok {
					return fmt.Errorf("%s %s", below(x.name, key), advice)
				}
			}
		}
	}
	type plain Spec
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode((*plain)(s))
}
