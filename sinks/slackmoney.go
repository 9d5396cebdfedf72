package sinks

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"

	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// decimal is an amount as senders write it. Exponents are no part of it: they
// would let ten bytes become gigabytes.
var decimal = regexp.MustCompile(`^[+-]?[0-9]{1,30}(\.[0-9]{1,30})?$`)

// amountOf reads an amount exactly.
func amountOf(v any) (*big.Rat, bool) {
	var text string
	switch v := v.(type) {
	case string:
		text = strings.TrimSpace(v)
	case json.Number:
		text = v.String()
	case int, int64, float64:
		text = fmt.Sprint(v)
	}
	if !decimal.MatchString(text) {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// money shows an amount with its currency. What is no amount is missing, so
// that default replaces it; an amount without a currency stands alone.
func money(amount, code any) any {
	if m, ok := amount.(missing); ok {
		return m
	}
	value, ok := amountOf(amount)
	if !ok {
		return missingFor("%s is not an amount of money", describe(amount))
	}
	text, _ := code.(string)
	return formatMoney(value, text)
}

// describe names a value in an error without showing much of it.
func describe(v any) string {
	text, err := textOf(v)
	if err != nil {
		return "what is given"
	}
	return fmt.Sprintf("%q", cutRunes(text, 40))
}

// currencyCode is how ISO 4217 writes one.
var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// formatMoney writes an amount with the digits and the sign its currency has.
func formatMoney(value *big.Rat, code string) string {
	code = strings.ToUpper(strings.TrimSpace(code))
	digits, sign := 2, ""
	if unit, err := currency.ParseISO(code); err == nil {
		digits, _ = currency.Standard.Rounding(unit)
		sign = message.NewPrinter(language.AmericanEnglish).Sprint(currency.Symbol(unit))
	} else if currencyCode.MatchString(code) {
		sign = code
	}
	if currencyCode.MatchString(sign) {
		sign += " "
	}
	minus := ""
	if value.Sign() < 0 {
		minus, value = "-", new(big.Rat).Neg(value)
	}
	return minus + sign + grouped(value.FloatString(digits))
}

// grouped puts commas between thousands.
func grouped(number string) string {
	whole, fraction, has := strings.Cut(number, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if has {
		return whole + "." + fraction
	}
	return whole
}

// equal reports that two values are the same text or the same number.
func equal(a, b any) (bool, error) {
	if isMissing(a) || isMissing(b) {
		return false, nil
	}
	if x, ok := amountOf(a); ok {
		if y, ok := amountOf(b); ok {
			return x.Cmp(y) == 0, nil
		}
	}
	x, err := textOf(a)
	if err != nil {
		return false, err
	}
	y, err := textOf(b)
	return x == y, err
}

func isMissing(v any) bool {
	_, ok := v.(missing)
	return ok || v == nil
}

// comparison makes a function that compares numbers.
func comparison(holds func(int) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		if isMissing(a) || isMissing(b) {
			return false, nil
		}
		x, okX := amountOf(a)
		y, okY := amountOf(b)
		switch {
		case !okX:
			return false, &valueError{describe(a) + " is not a number to compare"}
		case !okY:
			return false, &valueError{describe(b) + " is not a number to compare"}
		}
		return holds(x.Cmp(y)), nil
	}
}
