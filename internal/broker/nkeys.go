package broker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"
)

// usersFile is what a NATS server's configuration includes.
const usersFile = "users.conf"

// systemUser is the user of the server's own account, for its operator's tools.
const systemUser = "system"

// WriteUsers writes into a folder what a NATS server needs to know the roles: a
// file to include, with an account for Penstock, a user for every role that has
// the least rights, and a user of the system account; and for each of them the
// seed of its key, readable by its owner alone. Seeds that are there are kept,
// so that it may be called again when the rights have changed. It returns the
// names of the seeds it made.
func (o Options) WriteUsers(dir string) (made []string, err error) {
	var users strings.Builder
	for _, role := range PermissionRoles() {
		rights, err := o.RoleRights(role)
		if err != nil {
			return nil, err
		}
		public, isNew, err := userKey(filepath.Join(dir, role+".nk"))
		if err != nil {
			return nil, err
		}
		if isNew {
			made = append(made, role+".nk")
		}
		fmt.Fprintf(&users, "      { # %s\n        nkey: %s\n%s      }\n", role, public, indent(rights.Snippet()))
	}
	system, isNew, err := userKey(filepath.Join(dir, systemUser+".nk"))
	if err != nil {
		return nil, err
	}
	if isNew {
		made = append(made, systemUser+".nk")
	}
	text := fmt.Sprintf(`# The users of Penstock, written by penstock provision --write-users. Changes
# here are lost when it is run again.
accounts {
  PENSTOCK {
    jetstream: enabled
    users: [
%s    ]
  }
  SYS {
    users: [ { nkey: %s } ]
  }
}
system_account: SYS
`, users.String(), system)
	path := filepath.Join(dir, usersFile)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write users: %w", err)
	}
	return made, os.Rename(path+".new", path)
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("        " + line)
	}
	return b.String()
}

// userKey is the public key of the seed in a file, which is made when it is not there.
func userKey(path string) (public string, isNew bool, err error) {
	seed, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if seed, err = newSeed(path); err != nil {
			return "", false, err
		}
		isNew = true
	} else if err != nil {
		return "", false, fmt.Errorf("read key: %w", err)
	}
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
	if err != nil {
		return "", false, fmt.Errorf("%s holds no NKey seed: remove it to have another made, or put the right one there", path)
	}
	defer pair.Wipe()
	public, err = pair.PublicKey()
	return public, isNew, err
}

func newSeed(path string) ([]byte, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	_, err = f.Write(append(seed, '\n'))
	return bytes.Clone(seed), errors.Join(err, f.Close()) // the pair is wiped
}
