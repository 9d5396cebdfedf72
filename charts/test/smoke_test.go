package charttest

import "testing"

func TestSmoke(t *testing.T) {
	m := render(t, vals(t, "{}"))
	t.Log(m.text)
}
