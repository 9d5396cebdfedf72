package rules

import (
	"errors"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// additions are those that we add to CEL and its extensions.
func additions() []cel.EnvOption {
	return []cel.EnvOption{
		// money reads an amount, written as a number or, as most senders do, as a
		// string. Only plain decimals are amounts: "49.00", not "1e3" or "NaN".
		cel.Function("money", cel.Overload("money_dyn", []*cel.Type{cel.DynType}, cel.DoubleType, cel.UnaryBinding(money))),
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
		if n, ok := numeric(v); ok {
			return n.ConvertToType(types.DoubleType)
		}
		return types.NewErr("money: %s is not an amount such as \"49.00\"", quotedShort(string(v)))
	}
	return types.NewErr("money: needs a number or a string such as \"49.00\", got %s", v.Type().TypeName())
}

const maxDays = 100 * 365

func days(v ref.Val) ref.Val {
	n, ok := v.(types.Int)
	if !ok || n > maxDays || n < -maxDays {
		return types.NewErr("days: needs a number of days, at most %d", maxDays)
	}
	return types.Duration{Duration: time.Duration(n) * 24 * time.Hour}
}

func date(at, name ref.Val) ref.Val {
	s, ok := name.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(at)
	}
	place, err := zone(string(s))
	if err != nil {
		return types.WrapErr(err)
	}
	return day(at, place)
}

// zone is a time zone by its name in the database of time zones.
func zone(name string) (*time.Location, error) {
	place, err := time.LoadLocation(cut(name, 60))
	if err != nil || name == "Local" {
		return nil, errors.New("unknown time zone " + quotedShort(name))
	}
	return place, nil
}

// day is the date of a time at a place.
func day(at ref.Val, place *time.Location) ref.Val {
	t, ok := at.(types.Timestamp)
	if !ok {
		return types.MaybeNoSuchOverloadErr(at)
	}
	return types.String(t.In(place).Format(time.DateOnly))
}

// short cuts a value for a message.
func short(s string) string { return cut(s, 60) }
