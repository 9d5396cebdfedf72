package config

import _ "embed"

//go:embed schema.json
var schema string

// Schema returns the JSON Schema (2020-12) of the configuration file, generated
// from the types of this package and the options of the sinks.
func Schema() string { return schema }
