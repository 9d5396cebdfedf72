package rules

import (
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// additions are those that we add to CEL and its extensions.
func additions() []cel.EnvOption {
	return []cel.EnvOption{
		// money reads an amount, written as a number or, as most senders do, as a
		// string. Only plain decimals are amounts: "49.00", not "1e3" or "NaN". Its
		// type is dyn, so that it may be compared with 49 as well as with 49.0.
		cel.Function("money", cel.Overload("money_dyn", []*cel.Type{cel.DynType}, cel.DynType, cel.UnaryBinding(money))),
		// days is a duration of that many days of 24 hours.
		cel.Function("days", cel.Overload("days_int", []*cel.Type{cel.IntType}, cel.DurationType, cel.UnaryBinding(days))),
		// date is the day of a time, as in 2026-11-20, in UTC or in a time zone.
		cel.Function("date",
			cel.Overload("date_timestamp", []*cel.Type{cel.TimestampType}, cel.StringType, cel.UnaryBinding(func(at ref.Val) ref.Val {
				return date(at, types.String("UTC"))
			})),
			cel.Overload("date_timestamp_zone", []*cel.Type{cel.TimestampType, cel.StringType}, cel.StringType, cel.BinaryBinding(date)),
		),
	}
}

func money(v ref.Val) ref.Val {
	switch v := v.(type) {
	case types.Double:
		return v
	case types.Int:
		return types.Double(v)
	case types.Uint:
		return types.Double(v)
	case types.String:
		if f, ok := amount(string(v)); ok {
			return types.Double(f)
		}
		return types.NewErr("money: %s is not an amount such as \"49.00\"", short(strconv.Quote(string(v))))
	}
	return types.NewErr("money: needs a number or a string such as \"49.00\", got %s", v.Type().TypeName())
}

// amount reads a plain decimal.
func amount(s string) (float64, bool) {
	digits := strings.TrimPrefix(strings.TrimSpace(s), "-")
	if len(digits) > 40 || strings.Trim(digits, "0123456789.") != "" || strings.Trim(digits, ".") != digits {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return f, err == nil
}

const maxDays = 100 * 365

func days(v ref.Val) ref.Val {
	n, ok := v.(types.Int)
	if !ok || n > maxDays || n < -maxDays {
		return types.NewErr("days: needs a number of days, at most %d", maxDays)
	}
	return types.Duration{Duration: time.Duration(n) * 24 * time.Hour}
}

func date(at, zone ref.Val) ref.Val {
	t, isTime := at.(types.Timestamp)
	name, isName := zone.(types.String)
	if !isTime || !isName {
		return types.MaybeNoSuchOverloadErr(at)
	}
	place, err := time.LoadLocation(string(name))
	if err != nil || name == "Local" {
		return types.NewErr("date: unknown time zone %s; write it as Europe/Berlin", short(strconv.Quote(string(name))))
	}
	return types.String(t.In(place).Format(time.DateOnly))
}

// short cuts a value for a message.
func short(s string) string { return cut(s, 60) }
