package main

// What a machine may lack, and an empty container does: the certificates of
// the public authorities, and the time zones. Those of the machine come first.
import (
	_ "time/tzdata"

	_ "golang.org/x/crypto/x509roots/fallback"
)
