package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/penstock/penstock/config"
	"go.yaml.in/yaml/v3"
)

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	type hidden struct{ token config.Secret }
	s := config.NewSecret("hunter2")
	holder := struct {
		Token  config.Secret
		Tokens []config.Secret
		ByName map[string]config.Secret
		Ptr    *config.Secret
	}{s, []config.Secret{s}, map[string]config.Secret{"a": s}, &s}
	for _, v := range []any{s, &s, holder, &holder, hidden{s}, &hidden{s}, fmt.Errorf("got %v", s)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%8s", "%U"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, "hunter2") || strings.Contains(strings.ToLower(got), "68756e74657232") {
				t.Errorf("Sprintf(%q, %T) = %s", verb, v, got)
			}
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%T logs or marshals as %s", v, out.String())
		}
	}
	y, err := yaml.Marshal(holder)
	if err != nil || strings.Contains(string(y), "hunter2") {
		t.Errorf("yaml.Marshal = %s, %v", y, err)
	}
}

func TestSecretForms(t *testing.T) {
	t.Parallel()
	s, none := config.NewSecret("hunter2"), config.NewSecret("")
	for _, tt := range []struct{ name, got, want string }{
		{"printed", fmt.Sprint(s), "***"},
		{"quoted", fmt.Sprintf("%q", s), `"***"`},
		{"as Go", fmt.Sprintf("%#v", s), `config.Secret{"***"}`},
		{"empty printed", fmt.Sprint(none), ""},
		{"empty as Go", fmt.Sprintf("%#v", none), `config.Secret{""}`},
		{"revealed", s.Reveal(), "hunter2"},
		{"empty revealed", config.Secret{}.Reveal(), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %s, want %s", tt.name, tt.got, tt.want)
		}
	}
	if s.IsZero() || !none.IsZero() || none != (config.Secret{}) {
		t.Error("only the empty secret is zero")
	}
	if !s.Equal(config.NewSecret("hunter2")) || s.Equal(none) || s.Equal(config.NewSecret("hunter3")) {
		t.Error("Equal compares the text")
	}
}
