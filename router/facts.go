package router

import (
	"sync"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/router/rules"
)

// Facts returns what says of an expression what is known without an event, for
// the advice of a configuration. The function is safe for concurrent use.
func Facts() func(config.Node) config.Facts {
	language := sync.OnceValues(rules.New)
	return func(n config.Node) config.Facts {
		l, err := language()
		if err != nil { // CheckExpressions says so
			return config.Facts{}
		}
		return l.Facts(n)
	}
}
