// Package rules is the language of conditions and transforms: CEL over one
// event. Expressions are compiled and type-checked when the configuration is
// read; what is wrong with one is told with its place in the file. Evaluating
// one is bounded in time and memory, whatever the event holds.
package rules

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/ext"
)

// The bounds of an expression and of its evaluation. They are far above what
// rules need.
const (
	// maxExpression bounds an expression, in characters.
	maxExpression = 16 << 10
	// maxNodes bounds an expression after its macros were expanded.
	maxNodes = 5_000
	// maxNesting bounds how deep an expression is nested.
	maxNesting = 100
	// maxLoops bounds how deep macros that go through lists are nested.
	maxLoops = 3
	// maxRange bounds the lists that lists.range makes.
	maxRange = 10_000
	// maxPrecision bounds the digits that format writes.
	maxPrecision = 100
	// interruptEvery is after how many turns of a loop the context is asked.
	interruptEvery = 100
)

// Language compiles expressions. It does not change and is safe for
// concurrent use.
type Language struct {
	env     *cel.Env
	metered cel.ProgramOption
}

// New returns the language of this version.
func New() (*Language, error) {
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(adapter{}),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.EnableMacroCallTracking(),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxNesting),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ASTValidators(cel.ValidateComprehensionNestingLimit(maxLoops)),
		ext.Strings(ext.StringsMaxPrecision(maxPrecision)),
		ext.Math(),
		ext.Lists(ext.ListsMaxRangeSize(maxRange)),
		ext.Sets(),
		ext.Encoders(ext.EncodersVersion(0)), // base64; what later ones add makes much of little
		ext.Regex(),
		ext.Bindings(),
		ext.TwoVarComprehensions(),
	}
	for _, v := range variables() {
		options = append(options, cel.Variable(v.name, v.kind))
	}
	env, err := cel.NewEnv(append(options, additions()...)...)
	if err != nil {
		return nil, err
	}
	planner, err := newPlanner(env)
	if err != nil {
		return nil, err
	}
	return &Language{env: env, metered: planner.decorate()}, nil
}

// variable is a name that expressions may use.
type variable struct {
	name string
	kind *cel.Type
}

// The variables besides the attributes of the event.
const (
	varData    = "data"
	varBody    = "body"
	varHeaders = "headers"
	varNow     = "now"
	varEvent   = "event"
)

// variables are all of them. Each attribute of the event is a variable of its
// own, which costs nothing unless it is used, and has a type.
func variables() []variable {
	return []variable{
		{"event.id", cel.StringType},
		{"event.type", cel.StringType},
		{"event.subject", cel.StringType},
		{"event.source", cel.StringType},
		{"event.api_version", cel.IntType},
		{"event.received", cel.TimestampType},
		{varData, cel.DynType},
		{varBody, cel.DynType},
		{varHeaders, cel.MapType(cel.StringType, cel.StringType)},
		{varNow, cel.TimestampType},
	}
}

// program plans a checked expression.
func (l *Language) program(checked *cel.Ast) (cel.Program, error) { return l.programIn(l.env, checked) }

func (l *Language) programIn(env *cel.Env, checked *cel.Ast) (cel.Program, error) {
	limits := []cel.ProgramOption{
		l.metered, cel.InterruptCheckFrequency(interruptEvery), cel.EvalOptions(cel.OptOptimize),
	}
	return env.Program(checked, limits...)
}

// loops reports that an expression goes through a list, so that it may take
// long enough to be interrupted.
func loops(root ast.Expr) bool {
	found := false
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.ComprehensionKind
	}))
	return found
}
