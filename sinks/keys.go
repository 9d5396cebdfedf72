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

// TemplateWord is something that a template may say.
type TemplateWord struct {
	// Form is how it is written: .ID, or upper VALUE.
	Form string
	// Doc is what it is, without a full stop.
	Doc string
}

// SlackTemplates returns the fields and functions that templates of the kind
// slack may use, in the order in which to show them.
func SlackTemplates() (fields, funcs []TemplateWord) {
	for _, f := range slackFields() {
		fields = append(fields, TemplateWord{Form: "." + f.name, Doc: f.doc})
	}
	for _, f := range templateFuncs() {
		funcs = append(funcs, TemplateWord{Form: f.signature, Doc: f.doc})
	}
	return fields, funcs
}
