#!/bin/sh
# Makes the secrets of docker-compose.yml under the folder that is named, each
# once: one that is there is kept. The sender's own secret, when it is given,
# replaces what was generated. It says nothing of what it makes.
#
#   secrets.sh FOLDER
set -eu
umask 077
root=$1

# random prints 256 bits.
random() { head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_'; }

# own gives a file to the user of the container that reads it. Who is not root
# cannot, and needs not: nobody else runs anything then.
own() { if [ "$(id -u)" = 0 ]; then chown "$1" "$2"; fi; }

# put FOLDER/NAME OWNER VALUE writes one secret; a reader never finds half of it.
put() {
	mkdir -p "$root/${1%/*}"
	printf '%s' "$3" >"$root/$1.new"
	chmod 400 "$root/$1.new"
	own "$2" "$root/$1.new"
	mv -f "$root/$1.new" "$root/$1"
	chmod 755 "$root/${1%/*}"
}

# make FOLDER/NAME OWNER makes a random one that is not there.
make() { if [ ! -s "$root/$1" ]; then put "$1" "$2" "$(random)"; fi; }

penstock=65532:65532 # the users of the images
grafana=472:0

if [ -n "${CLICKFUNNELS_WEBHOOK_SECRET:-}" ]; then
	put penstock/webhook-secret "$penstock" "$CLICKFUNNELS_WEBHOOK_SECRET"
fi
make penstock/webhook-secret "$penstock"
make penstock/admin-token "$penstock"
make grafana/admin-password "$grafana"

# Both ends of the bucket have the same keys.
make s3/access-key-id "$penstock"
make s3/secret-access-key "$penstock"
put penstock/s3-access-key-id "$penstock" "$(cat "$root/s3/access-key-id")"
put penstock/s3-secret-access-key "$penstock" "$(cat "$root/s3/secret-access-key")"
