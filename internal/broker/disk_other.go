//go:build !unix

package broker

// freeBytes assumes enough for the largest automatic store where it cannot be measured.
func freeBytes(string) (int64, error) { return 4 * autoMaxBytes, nil }
