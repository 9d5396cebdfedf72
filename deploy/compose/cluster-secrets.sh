#!/bin/sh
# Makes, under the folder that is named, a key for each role on the cluster, and
# for the nodes the public parts and a password among themselves; each once.
# It needs nk, which comes with NATS.
#
#   cluster-secrets.sh FOLDER
set -eu
umask 077
root=$1
owner=65532:65532 # the user of Penstock's image, and of the nodes here

mkdir -p "$root/roles" "$root/nats"
conf=$root/nats/keys.conf
{
	for role in ingress router console provisioner; do
		key=$root/roles/$role.nk
		if [ ! -s "$key" ]; then
			nk -gen user >"$key.new"
			chmod 400 "$key.new"
			mv -f "$key.new" "$key"
		fi
		printf '%s_NKEY: %s\n' "$(echo "$role" | tr '[:lower:]' '[:upper:]')" "$(nk -inkey "$key" -pubout)"
	done
	if [ ! -s "$root/nats/password" ]; then
		head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' >"$root/nats/password"
	fi
	password=$(cat "$root/nats/password")
	printf 'CLUSTER_PASSWORD: "%s"\nCLUSTER_ROUTES: [\n' "$password"
	for node in nats-1 nats-2 nats-3; do
		printf '  "nats-route://node:%s@%s:6222"\n' "$password" "$node"
	done
	echo ']'
} >"$conf.new"
mv -f "$conf.new" "$conf"

if [ "$(id -u)" = 0 ]; then
	chown -R "$owner" "$root/roles" "$root/nats"
	for data in "$root"/data/*; do chown "$owner" "$data"; done
fi
