package sinks

// Keys returns, by kind, the struct that the keys of its own are read into,
// with its defaults: what the reference and the schema are generated from.
func Keys() map[string]any {
	all := map[string]any{}
	for name, k := range kinds() {
		all[name] = k.keys()
	}
	return all
}
