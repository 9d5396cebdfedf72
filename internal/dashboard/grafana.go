// Package dashboard makes the Grafana dashboards that are shipped: one of a
// whole installation, one of a single sink. They are written to the chart by a
// test, so the program itself has none of this.
package dashboard

import (
	"encoding/json"
	"fmt"
)

// Panel heights, in Grafana's grid of 24 columns.
const (
	columns     = 24
	statHeight  = 4
	graphHeight = 8
)

// The types below are what Grafana reads, as far as we use it.
type (
	board struct {
		UID           string     `json:"uid"`
		Title         string     `json:"title"`
		Description   string     `json:"description"`
		Tags          []string   `json:"tags"`
		Editable      bool       `json:"editable"`
		GraphTooltip  int        `json:"graphTooltip"`
		Refresh       string     `json:"refresh"`
		SchemaVersion int        `json:"schemaVersion"`
		Time          span       `json:"time"`
		Templating    templating `json:"templating"`
		Links         []link     `json:"links"`
		Panels        []panel    `json:"panels"`
	}
	span struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	link struct {
		Title       string   `json:"title"`
		Type        string   `json:"type"`
		Tags        []string `json:"tags"`
		IncludeVars bool     `json:"includeVars"`
		KeepTime    bool     `json:"keepTime"`
	}
	templating struct {
		List []variable `json:"list"`
	}
	variable struct {
		Name       string  `json:"name"`
		Label      string  `json:"label"`
		Type       string  `json:"type"`
		Query      string  `json:"query"`
		Datasource *source `json:"datasource,omitempty"`
		Refresh    int     `json:"refresh,omitempty"`
		Sort       int     `json:"sort,omitempty"`
		Multi      bool    `json:"multi,omitempty"`
		IncludeAll bool    `json:"includeAll,omitempty"`
		AllValue   string  `json:"allValue,omitempty"`
	}
	source struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	panel struct {
		ID          int            `json:"id"`
		Type        string         `json:"type"`
		Title       string         `json:"title"`
		Description string         `json:"description,omitempty"`
		GridPos     place          `json:"gridPos"`
		Datasource  *source        `json:"datasource,omitempty"`
		Targets     []target       `json:"targets,omitempty"`
		FieldConfig *fieldConfig   `json:"fieldConfig,omitempty"`
		Options     map[string]any `json:"options,omitempty"`
	}
	place struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	}
	target struct {
		RefID        string `json:"refId"`
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
		Instant      bool   `json:"instant,omitempty"`
	}
	fieldConfig struct {
		Defaults  defaults `json:"defaults"`
		Overrides []any    `json:"overrides"`
	}
	defaults struct {
		Unit       string         `json:"unit"`
		Min        *int           `json:"min,omitempty"`
		Decimals   *int           `json:"decimals,omitempty"`
		Color      map[string]any `json:"color,omitempty"`
		Thresholds *thresholds    `json:"thresholds,omitempty"`
		Mappings   []mapping      `json:"mappings,omitempty"`
		Custom     map[string]any `json:"custom,omitempty"`
	}
	thresholds struct {
		Mode  string `json:"mode"`
		Steps []step `json:"steps"`
	}
	step struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"`
	}
	mapping struct {
		Type    string            `json:"type"`
		Options map[string]mapped `json:"options"`
	}
	mapped struct {
		Text  string `json:"text"`
		Color string `json:"color"`
	}
)

// query is one line of a graph: what is asked and what it is called.
type query struct{ expr, legend string }

// layout puts panels one after the other, row by row.
type layout struct {
	panels     []panel
	x, y, tall int
}

func (l *layout) add(p panel, width, height int) {
	if l.x+width > columns {
		l.x, l.y, l.tall = 0, l.y+l.tall, 0
	}
	p.ID = len(l.panels) + 1
	p.GridPos = place{H: height, W: width, X: l.x, Y: l.y}
	l.panels = append(l.panels, p)
	l.x, l.tall = l.x+width, max(l.tall, height)
}

// row begins a new row with a title.
func (l *layout) row(title string) {
	l.x = columns
	l.add(panel{Type: "row", Title: title}, columns, 1)
}

// above are the values from which a stat is yellow and red, or, when red is the
// lower of them, below which it is. The zero value has no colours.
type above struct{ yellow, red float64 }

func (a above) steps() []step {
	at := func(v float64) *float64 { return &v }
	if a == (above{}) {
		return []step{{"blue", nil}}
	}
	if a.red < a.yellow {
		return []step{{"red", nil}, {"yellow", at(a.red)}, {"green", at(a.yellow)}}
	}
	return []step{{"green", nil}, {"yellow", at(a.yellow)}, {"red", at(a.red)}}
}

// stat is one number. zero is what a 0 is shown as, if that is not "".
func (l *layout) stat(title, about, unit string, t above, zero string, q query, width int) {
	p := asking("stat", title, about, unit, []query{q})
	p.Targets[0].Instant = true
	d := &p.FieldConfig.Defaults
	d.Color = map[string]any{"mode": "thresholds"}
	d.Thresholds = &thresholds{Mode: "absolute", Steps: t.steps()}
	if zero != "" {
		d.Mappings = []mapping{{Type: "value", Options: map[string]mapped{"0": {Text: zero, Color: "green"}}}}
	}
	p.Options = map[string]any{
		"colorMode": "background", "graphMode": "none", "textMode": "auto",
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	l.add(p, width, statHeight)
}

// graph is lines over time.
func (l *layout) graph(title, about, unit string, queries ...query) {
	p := asking("timeseries", title, about, unit, queries)
	zero := 0
	p.FieldConfig.Defaults.Min = &zero
	p.FieldConfig.Defaults.Custom = map[string]any{"fillOpacity": 10, "showPoints": "never", "lineWidth": 1}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	l.add(p, columns/2, graphHeight)
}

func asking(kind, title, about, unit string, queries []query) panel {
	p := panel{
		Type: kind, Title: title, Description: about, Datasource: prometheus(),
		FieldConfig: &fieldConfig{Defaults: defaults{Unit: unit}, Overrides: []any{}},
	}
	for i, q := range queries {
		p.Targets = append(p.Targets, target{RefID: string(rune('A' + i)), Expr: q.expr, LegendFormat: q.legend})
	}
	return p
}

func prometheus() *source { return &source{Type: "prometheus", UID: "${datasource}"} }

// newBoard is a board without panels. Its variables are the data source, the
// namespace and the job of an installation, and more.
func newBoard(uid, title, about string, more ...variable) board {
	return board{
		UID: uid, Title: title, Description: about, Tags: []string{"penstock"}, Editable: true, GraphTooltip: 1,
		Refresh: "30s", SchemaVersion: 39, Time: span{From: "now-6h", To: "now"},
		Links: []link{{Title: "Penstock", Type: "dashboards", Tags: []string{"penstock"}, IncludeVars: true, KeepTime: true}},
		Templating: templating{List: append([]variable{
			{Name: "datasource", Label: "Prometheus", Type: "datasource", Query: "prometheus"},
			{Name: "namespace", Label: "Namespace", Type: "query", Query: "label_values(penstock_build_info, namespace)", Datasource: prometheus(),
				Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".*"},
			{Name: "job", Label: "Job", Type: "query", Query: `label_values(penstock_build_info{namespace=~"$namespace"}, job)`, Datasource: prometheus(),
				Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".*"},
		}, more...)},
	}
}

func (b board) encode() ([]byte, error) {
	data, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode dashboard %s: %w", b.Title, err)
	}
	return append(data, '\n'), nil
}
