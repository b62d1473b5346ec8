package control

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Credentials are the passwords of a broker's users.
type Credentials struct {
	Coordinator string `json:"coordinator"` // may do everything among the workers' subjects
	Worker      string `json:"worker"`      // what the workers' own passwords are made of, see access.go
	Monitor     string `json:"monitor"`     // hears of connections that close
	// Shared is set for a NATS server that is not ours: its users are coordinator, monitor in the system account, and one
	// worker for all workers, whose permissions are those of package wire's patterns.
	Shared bool `json:"shared,omitempty"`
}

// The broker's users.
const (
	userCoordinator = "coordinator"
	userWorker      = "worker"
	userMonitor     = "monitor"
	userRoute       = "broker" // other brokers of a cluster
)

// NewCredentials draws passwords.
func NewCredentials() Credentials {
	return Credentials{Coordinator: NewSecret(), Worker: NewSecret(), Monitor: NewSecret()}
}

// DeriveCredentials makes passwords of the cluster's token: those who share it have the same ones. They do not tell the token.
func DeriveCredentials(token string) Credentials {
	return Credentials{
		Coordinator: keyed(token, "broker "+userCoordinator), Worker: keyed(token, "broker "+userWorker),
		Monitor: keyed(token, "broker "+userMonitor),
	}
}

// routes is the password of the brokers of a cluster for each other.
func (c Credentials) routes() string { return keyed(c.Coordinator, "broker "+userRoute) }

// keyed is HMAC-SHA256 of a text, in hex.
func keyed(key, text string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// Validate lists all that is wrong.
func (c Credentials) Validate() error {
	var errs []error
	for _, user := range []string{userCoordinator, userWorker, userMonitor} {
		if len(c.password(user)) < 16 {
			errs = append(errs, fmt.Errorf("the password of the broker's user %s has less than 16 characters", user))
		}
	}
	return errors.Join(errs...)
}

func (c Credentials) password(user string) string {
	switch user {
	case userCoordinator:
		return c.Coordinator
	case userWorker:
		return c.Worker
	}
	return c.Monitor
}

// LoadCredentials reads a broker's credentials from a file. When there is none and create is set, it draws them and
// writes the file, for its owner alone.
func LoadCredentials(file string, create bool) (Credentials, error) {
	var c Credentials
	data, err := loadSecret(file, create, func() ([]byte, error) { return json.MarshalIndent(NewCredentials(), "", "  ") })
	if err != nil {
		return c, fmt.Errorf("the broker's credentials: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("the broker's credentials in %s: %w", file, err)
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("the broker's credentials in %s: %w", file, err)
	}
	return c, nil
}

// LoadToken reads a token from a file, or draws one as LoadCredentials does.
func LoadToken(file string, create bool) (string, error) {
	data, err := loadSecret(file, create, func() ([]byte, error) { return []byte(NewSecret()), nil })
	if err != nil {
		return "", err
	}
	token := string(data)
	if len(token) < 16 {
		return "", fmt.Errorf("the token in %s has %d characters; it must have at least 16", file, len(token))
	}
	return token, nil
}

// loadSecret reads a file, without the space around. A new one appears whole: of several processes that make it at the
// same time one wins, and all read the same.
func loadSecret(file string, create bool, draw func() ([]byte, error)) ([]byte, error) {
	data, err := os.ReadFile(file)
	if !errors.Is(err, os.ErrNotExist) || !create {
		return trim(data), err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	if data, err = draw(); err != nil {
		return nil, err
	}
	part, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(part.Name())
	_, err = part.Write(append(data, '\n'))
	if err = errors.Join(err, part.Sync(), part.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(part.Name(), file); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	data, err = os.ReadFile(file)
	return trim(data), err
}

func trim(data []byte) []byte {
	for len(data) > 0 && (data[len(data)-1] == '\n' || data[len(data)-1] == '\r' || data[len(data)-1] == ' ') {
		data = data[:len(data)-1]
	}
	return data
}

// NewSecret returns 128 random bits in hex.
func NewSecret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
