package ingress

// InFlight is how many webhook requests are being read or stored, and how many
// bytes are reserved for their bodies. It may be called at any time.
func (s *Server) InFlight() (requests, bytes int64) {
	return s.gate.requests.Load(), s.gate.bytes.Load()
}
