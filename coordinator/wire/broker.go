package wire

import "errors"

// Broker is where workers connect to: what a coordinator answers to GET /v1/broker?worker=ID&session=NAME, as JSON. User and
// password are for that session of that worker.
type Broker struct {
	URL      string `json:"url"` // nats://host:port; several are separated by commas
	User     string `json:"user"`
	Password string `json:"password"`
	// DataPlane is the way of the workers' sums: what a worker listens for that was not told where. "": the coordinator's build
	// does not say.
	DataPlane DataPlane `json:"data_plane,omitempty"`
}

// Access is a user of the broker.
type Access struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

func (a *Access) validate() error {
	if a == nil {
		return nil
	}
	if a.User == "" || a.Password == "" {
		return errors.New("access: user or password is missing")
	}
	return errors.Join(checkText("user", a.User, 512), checkText("password", a.Password, 128))
}
