package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/wire"
)

// tokenPrefix begins each token that was drawn here.
const tokenPrefix = "pupil_"

// clusterToken is the name, in logs, of the token that the coordinators share.
const clusterToken = "the cluster's token"

// authorized lets only those through whose token has a role.
func (s *server) authorized(role cluster.Role, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if role != anybody {
			name, err := s.admit(r, role)
			if err != nil {
				fail(w, err)
				return
			}
			if r.Method != http.MethodGet {
				s.logger.Info("request", "method", r.Method, "path", r.URL.Path, "token", name, "from", r.RemoteAddr)
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, api.MaxBody)
		next(w, r)
	})
}

// admit says whose token a request shows, and refuses one without the role.
func (s *server) admit(r *http.Request, role cluster.Role) (name string, err error) {
	header := r.Header.Get("Authorization")
	if header == "" && s.config.Public && cluster.Viewer.May(role) {
		return "nobody's", nil
	}
	name, has, known := s.awaitOwner(r.Context(), header)
	switch {
	case !known:
		return "", refuse(api.Unauthorized, "a token of the cluster is needed, which is known here and has not expired: the file that the "+
			"coordinators have, or one that coordinator tokens add has made")
	case !has.May(role):
		return "", refuse(api.Forbidden, fmt.Sprintf("the token %s has the role %s; %s %s needs %s", name, has, r.Method, r.URL.Path, role))
	}
	return name, nil
}

// newTokens is how long a coordinator that does not lead waits for the log to bring a token that it does not know: it may have
// been added just now.
const newTokens = time.Second

// awaitOwner is owner, for tokens that were added just now as well.
func (s *server) awaitOwner(ctx context.Context, header string) (name string, role cluster.Role, known bool) {
	until := time.Now().Add(newTokens)
	for {
		name, role, known = s.owner(header)
		drawn := strings.HasPrefix(header, "Bearer "+tokenPrefix)
		if known || name != "" || !drawn || s.log.Leads() || time.Now().After(until) {
			return name, role, known
		}
		select {
		case <-ctx.Done():
			return name, role, known
		case <-time.After(newTokens / 20):
		}
	}
}

// owner finds the token of a header. One that has expired has a name, and is not known.
func (s *server) owner(header string) (name string, role cluster.Role, known bool) {
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok || token == "" {
		return "", "", false
	}
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.config.Token)) == 1 {
		return clusterToken, cluster.Admin, true
	}
	if w := s.config.WorkerToken; w != "" && subtle.ConstantTimeCompare([]byte(token), []byte(w)) == 1 {
		return "of --worker-token-file", cluster.Joiner, true
	}
	hash, now := []byte(hashOf(token)), time.Now()
	for _, t := range s.log.Tokens() {
		if subtle.ConstantTimeCompare(hash, []byte(t.Hash)) == 1 {
			return t.Name, t.Role, t.Expires.IsZero() || now.Before(t.Expires)
		}
	}
	return "", "", false
}

func hashOf(token string) string {
	h := sha256.Sum256([]byte(token))
	return hex.EncodeToString(h[:])
}

// tokens lists the tokens, without what opens anything.
func (s *server) tokens(*http.Request, *control.Service) (any, error) {
	all := []api.Token{}
	for _, t := range s.log.Tokens() {
		all = append(all, shown(t))
	}
	return all, nil
}

func shown(t cluster.Token) api.Token {
	return api.Token{Name: t.Name, Role: t.Role, Created: t.Created, Expires: t.Expires}
}

// addToken draws a token. It is in the answer and nowhere else.
func (s *server) addToken(r *http.Request, leader *control.Service) (any, error) {
	var in api.Token
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if err := wire.CheckName("token", in.Name); err != nil {
		return nil, refuse(api.Invalid, err.Error())
	}
	secret := tokenPrefix + control.NewSecret() + control.NewSecret()
	err := leader.AddToken(r.Context(), cluster.TokenAdded{Name: in.Name, Role: in.Role, Hash: hashOf(secret), Expires: in.Expires})
	if err != nil {
		return nil, err
	}
	for _, t := range s.log.Tokens() {
		if t.Name == in.Name {
			out := shown(t)
			out.Secret = secret
			return out, nil
		}
	}
	return nil, refuse(api.Refused, "the token "+in.Name+" was removed at once")
}

func (s *server) removeToken(r *http.Request, leader *control.Service) (any, error) {
	if err := leader.RemoveToken(r.Context(), r.PathValue("name")); err != nil {
		return nil, err
	}
	return s.tokens(r, leader)
}
