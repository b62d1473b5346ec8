package serve

// Patterns are those that the server serves.
func (s *Server) Patterns() []string {
	var list []string
	for p := range s.routes() {
		list = append(list, p)
	}
	return list
}

// OpenAPI is the interface's description.
func OpenAPI() []byte { return openapi }
