package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// compare builds the commit twice, each time in a clone of its own with an
// empty build cache, and demands the same bytes. A cache that both share would
// hide a difference.
func compare(ctx context.Context, o options) error {
	if err := clean(ctx, o.dir); err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "penstock-release-check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	var sums [2]string
	for i, where := range []string{"one", "another/and/longer"} {
		again := o
		again.dir = filepath.Join(root, where, "penstock")
		again.out = filepath.Join(root, "out", fmt.Sprint(i))
		again.cache = filepath.Join(root, "cache", fmt.Sprint(i))
		if _, err := git(ctx, o.dir, "clone", "--quiet", "--no-hardlinks", ".", again.dir); err != nil {
			return err
		}
		if err := release(ctx, again); err != nil {
			return err
		}
		if sums[i], err = hashes(again.out); err != nil {
			return err
		}
	}
	if sums[0] != sums[1] {
		return fmt.Errorf("two builds of one commit differ:\n%s\n%s", sums[0], sums[1])
	}
	if sums[0] == "" {
		return errors.New("nothing was built")
	}
	fmt.Printf("two builds are the same:\n%s", sums[0])
	return nil
}
