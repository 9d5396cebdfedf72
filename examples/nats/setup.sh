#!/bin/sh
# Makes the configuration of a NATS cluster for Penstock: an account of its own,
# a key and the least rights for every role, and a file for each node.
#
#   examples/nats/setup.sh CONFIG DIR NODE...
#
#   CONFIG  the Penstock configuration; its sinks and sources decide the rights
#   DIR     where everything is written; run again after a change of CONFIG: keys
#           that are there stay, rights are written anew
#   NODE    name=host[:client-port[:route-port]], three of them; ports 4222 and 6222
#
# In the environment, all optional:
#
#   PENSTOCK   the program (penstock)
#   STORE      where a node keeps its streams (/var/lib/nats); its name is added
#   MAX_STORE  how much a node may keep (20GB)
#   TLS_CERT, TLS_KEY, TLS_CA   files on the nodes, for clients and routes; without
#              them nothing is encrypted, which is for a trial on one machine
#
# For a trial on one machine, with three nodes:
#
#   examples/nats/setup.sh penstock.yaml ./nats n0=127.0.0.1:4222:6222 \
#     n1=127.0.0.1:4223:6223 n2=127.0.0.1:4224:6224
set -eu

[ $# -ge 3 ] || { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
config=$1 dir=$2
shift 2
penstock=${PENSTOCK:-penstock} store=${STORE:-/var/lib/nats} max_store=${MAX_STORE:-20GB}
case $# in
1 | 3 | 5) ;;
*) echo "setup.sh: $# nodes cannot hold a majority better than $(($# - 1)) can: name 3, 5, or 1 for a trial" >&2; exit 2 ;;
esac

umask 077
mkdir -p "$dir"
"$penstock" provision -c "$config" --write-users "$dir"

# What the nodes tell each other is behind a password, which stays too.
[ -s "$dir/route.password" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$dir/route.password"
route=$(cat "$dir/route.password")

host() { rest=${1#*=}; echo "${rest%%:*}"; }
port() { # NODE WHICH DEFAULT
	echo "${1#*=}" | awk -F: -v n="$2" -v d="$3" '{ print ($n == "" ? d : $n) }'
}

routes='' urls='' scheme=nats tls=''
for node in "$@"; do
	case $node in
	?*=?*) ;;
	*) echo "setup.sh: node $node is not name=host[:port[:port]]" >&2; exit 2 ;;
	esac
	routes="$routes
    \"nats-route://penstock:$route@$(host "$node"):$(port "$node" 3 6222)\""
done
if [ -n "${TLS_CERT:-}" ]; then
	scheme=tls
	tls="tls { cert_file: \"$TLS_CERT\", key_file: \"${TLS_KEY:?set TLS_KEY too}\"${TLS_CA:+, ca_file: \"$TLS_CA\"} }"
fi

for node in "$@"; do
	name=${node%%=*}
	urls="$urls${urls:+,}$scheme://$(host "$node"):$(port "$node" 2 4222)"
	listen=0.0.0.0
	[ "$(host "$node")" = 127.0.0.1 ] && listen=127.0.0.1
	cat >"$dir/$name.conf" <<CONF
# Node $name of the cluster for Penstock. Start it with: nats-server -c $name.conf
server_name: "$name"
listen: "$listen:$(port "$node" 2 4222)"
# The default, 1MB, is too small for server.max_body and its headers.
max_payload: 2MB
jetstream {
  store_dir: "$store/$name"
  # A webhook is answered 202 when a majority of the disks has it.
  sync_interval: always
  max_file_store: $max_store
}
cluster {
  name: penstock
  listen: "$listen:$(port "$node" 3 6222)"
  authorization { user: penstock, password: "$route" }
  routes: [$routes
  ]
  $tls
}
$tls
include users.conf
CONF
done

cat <<NEXT
wrote $dir: a .conf for each node, users.conf, which each includes, and a .nk for each role

 1. copy NAME.conf and users.conf to each node and start nats-server -c NAME.conf
    (running nodes take a new users.conf with: nats-server --signal reload)
 2. in the Penstock configuration:
      broker:
        url: $urls
        nkey_file: \${PENSTOCK_NKEY_FILE}
        replicas: $#
        durability: power
 3. penstock provision -c $config --nkey $dir/provisioner.nk
 4. give each process the key of its role alone, as PENSTOCK_NKEY_FILE
NEXT
