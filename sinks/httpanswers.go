package sinks

import (
	"regexp"
	"strconv"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
)

// responseKeys are the keys of responses. A status that no list names keeps
// its class: 2xx is done, retry.permanent_statuses are rejected, 429 is
// throttled, 408 and 5xx are the sink's fault, all else is refused. What a
// list names comes before retry.permanent_statuses, and a status before the
// hundred that it belongs to.
type responseKeys struct {
	// Done are the answers that say that the receiver has the event, such as
	// 409 of one that has it already. A hundred is written 2xx.
	Done []statusRange `yaml:"done" example:"[2xx, 409]"`
	// Rejected are the answers that no retry will change. The event goes to
	// the dead letters at once.
	Rejected []statusRange `yaml:"rejected" example:"[400, 422]"`
	// Refused are the answers that a person has to see to, such as a wrong
	// token. The event is tried again, and the sink may be held.
	Refused []statusRange `yaml:"refused" example:"[401, 403]"`
	// Sink are the answers of a receiver in trouble. The event is tried
	// again, and the sink may be held; Retry-After is heeded.
	Sink []statusRange `yaml:"sink" example:"[5xx]"`
	// Throttled are the answers that ask for less. The whole sink waits for
	// Retry-After, and no attempt is spent.
	Throttled []statusRange `yaml:"throttled" example:"[429]"`
}

// statusRange is a status, 409, or a hundred of them, 4xx.
type statusRange struct {
	node      config.Node
	low, high int
}

var statusForm = regexp.MustCompile(`^[2-5]([0-9][0-9]|xx|XX)$`)

// DecodeNode implements config.Decoder.
func (s *statusRange) DecodeNode(n config.Node) config.Mistakes {
	var text string
	if mistakes := n.Decode(&text); len(mistakes) > 0 {
		return mistakes
	}
	if !statusForm.MatchString(text) {
		return config.Mistakes{n.Errorf("", "needs a status from 200 to 599, or a hundred", "write 409 or 4xx")}
	}
	hundred := int(text[0]-'0') * 100
	s.node, s.low, s.high = n, hundred, hundred+99
	if code, err := strconv.Atoi(text); err == nil {
		s.low, s.high = code, code
	}
	return nil
}

// decodeResponses returns the class of each status that a list names.
func decodeResponses(k responseKeys) (map[int]delivery.Class, config.Mistakes) {
	lists := []struct {
		class  delivery.Class
		ranges []statusRange
	}{
		{"", k.Done}, {delivery.Rejected, k.Rejected}, {delivery.Refused, k.Refused},
		{delivery.Failed, k.Sink}, {delivery.Throttled, k.Throttled},
	}
	classes, single := map[int]delivery.Class{}, map[int]bool{}
	seen := map[[2]int]string{}
	var mistakes config.Mistakes
	for _, list := range lists {
		for _, r := range list.ranges {
			if first, twice := seen[[2]int{r.low, r.high}]; twice && r.low != 0 {
				mistakes = append(mistakes, r.node.Errorf("", "is named already, in "+first, "keep one"))
				continue
			}
			seen[[2]int{r.low, r.high}] = r.node.Path
			for code := r.low; code <= r.high && code != 0; code++ {
				if one := r.low == r.high; one || !single[code] {
					classes[code], single[code] = list.class, one
				}
			}
		}
	}
	if len(classes) == 0 {
		return nil, mistakes
	}
	return classes, mistakes
}
