package wire

// Broker is where workers connect to: what a coordinator answers to GET /v1/broker, as JSON.
type Broker struct {
	URL      string `json:"url"` // nats://host:port; several are separated by commas
	User     string `json:"user"`
	Password string `json:"password"`
}
