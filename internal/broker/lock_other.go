//go:build !unix

package broker

// dirLock holds nothing where there is no flock.
type dirLock struct{}

func lockDir(string) (*dirLock, error) { return &dirLock{}, nil }

// Close gives the directory up.
func (*dirLock) Close() error { return nil }
