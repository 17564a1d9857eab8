#!/bin/bash
# The floor: etcd by openssl and ssh, without a check, a gate, hardening or a second run.
# Usage: bare_script.sh DIR KEY KNOWN_HOSTS create URL NAME=ADDRESS...     a cluster, all members in parallel
#        bare_script.sh DIR KEY KNOWN_HOSTS restart FLAG NAME=ADDRESS...   another flag, one member after another
#        bare_script.sh DIR KEY KNOWN_HOSTS upgrade URL NAME=ADDRESS...    another release, one member after another
#        bare_script.sh DIR KEY KNOWN_HOSTS join URL NEW=ADDRESS NAME=ADDRESS...   a member more, or one whose disk is empty
#        bare_script.sh DIR KEY KNOWN_HOSTS install URL NAME=ADDRESS...    all but the start of a cluster, by the CA in DIR
#        bare_script.sh DIR KEY KNOWN_HOSTS restore FILE NAME=ADDRESS...   then it starts with the data of a snapshot
set -euo pipefail
dir=$1 key=$2 known_hosts=$3 verb=$4 what=$5
shift 5
cd "$dir"
run() { ssh -F none -i "$key" -o UserKnownHostsFile="$known_hosts" -o BatchMode=yes -o LogLevel=ERROR "operator@$1" "${@:2}"; }
etcdctl() { # MEMBER ARGUMENTS...
  local name=${1%=*} address=${1#*=}
  run "$address" "sudo /opt/bare/etcdctl --endpoints https://$address:2379 --cacert /etc/bare/ca.crt --cert /etc/bare/$name-server.crt \
    --key /etc/bare/$name-server.key --dial-timeout 1s ${*:2}"
}
fetch="import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())"

issue() {
  local name=${1%=*} address=${1#*=} kind
  for kind in server peer; do
    openssl ecparam -name prime256v1 -genkey -noout -out "$name-$kind.key"
    openssl req -new -key "$name-$kind.key" -subj "/CN=$name" -out "$name-$kind.csr"
    printf 'subjectAltName=DNS:%s,IP:%s,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' "$name" "$address" >"$name-$kind.ext"
    openssl x509 -req -in "$name-$kind.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 \
      -extfile "$name-$kind.ext" -out "$name-$kind.crt" 2>/dev/null
  done
}

install() { # MEMBER URL CLUSTER STATE
  local name=${1%=*} address=${1#*=} url=$2 cluster=$3 state=$4
  tar c ca.crt "$name"-{server,peer}.{crt,key} | run "$address" "sudo sh -euc '
    mkdir -p /etc/bare /opt/bare && cd /etc/bare && tar x
    python3 -c \"$fetch\" $url | tar xz --strip-components=1 -C /opt/bare
    cat >/etc/systemd/system/bare-etcd.service <<UNIT
[Service]
Type=notify
ExecStart=/opt/bare/etcd --name $name --data-dir /var/lib/bare-etcd --initial-cluster $cluster --initial-cluster-state $state \
  --initial-advertise-peer-urls https://$address:2380 --listen-peer-urls https://$address:2380 \
  --advertise-client-urls https://$address:2379 --listen-client-urls https://$address:2379,https://127.0.0.1:2379 \
  --cert-file /etc/bare/$name-server.crt --key-file /etc/bare/$name-server.key --trusted-ca-file /etc/bare/ca.crt \
  --client-cert-auth --peer-cert-file /etc/bare/$name-peer.crt --peer-key-file /etc/bare/$name-peer.key \
  --peer-trusted-ca-file /etc/bare/ca.crt --peer-client-cert-auth
UNIT
    systemctl daemon-reload
    ${start-systemctl start --no-block bare-etcd}
  '"
}

list() { # MEMBERS...
  local member cluster=
  for member in "$@"; do cluster=$cluster,${member%=*}=https://${member#*=}:2380; done
  echo "${cluster#,}"
}

until_it_works() { # COMMAND...
  local try
  for try in $(seq 100); do
    "$@" >said 2>&1 && return
    sleep 0.1
  done
  cat said
  exit 1
}

case $verb in
install)
  for member in "$@"; do issue "$member"; done
  for member in "$@"; do start='' install "$member" "$what" "$(list "$@")" new & done
  for job in $(jobs -p); do wait "$job"; done
  ;;
restore)
  for member in "$@"; do
    run "${member#*=}" "sudo sh -euc '
      cat >/var/lib/snapshot.db
      /opt/bare/etcdutl snapshot restore /var/lib/snapshot.db --name ${member%=*} --data-dir /var/lib/bare-etcd \
        --initial-cluster $(list "$@") --initial-advertise-peer-urls https://${member#*=}:2380 2>/dev/null
      systemctl start --no-block bare-etcd
    '" <"$what" &
  done
  for job in $(jobs -p); do wait "$job"; done
  until_it_works etcdctl "$1" endpoint health --cluster
  ;;
create)
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -subj /CN=etcd-ca -days 3650 -out ca.crt 2>/dev/null
  for member in "$@"; do issue "$member"; done
  for member in "$@"; do install "$member" "$what" "$(list "$@")" new & done
  for job in $(jobs -p); do wait "$job"; done
  until_it_works etcdctl "$1" endpoint health --cluster
  ;;
restart)
  for member in "$@"; do
    run "${member#*=}" "sudo sh -c 'sed -i \"s|^ExecStart=/opt/bare/etcd|& $what|\" /etc/systemd/system/bare-etcd.service
      systemctl daemon-reload && systemctl restart bare-etcd'"
    until_it_works etcdctl "$1" endpoint health --cluster
  done
  ;;
upgrade)
  for member in "$@"; do
    run "${member#*=}" "sudo sh -c 'python3 -c \"$fetch\" $what | tar xz --unlink-first --strip-components=1 -C /opt/bare && systemctl restart bare-etcd'"
    until_it_works etcdctl "$1" endpoint health --cluster
  done
  ;;
join)
  new=$1 name=${1%=*}
  shift
  old=$(etcdctl "$1" member list | grep ", $name, " | cut -d, -f1 || true)
  if [ -n "$old" ]; then etcdctl "$1" member remove "$old" >/dev/null; fi
  etcdctl "$1" member add "$name" --learner --peer-urls "https://${new#*=}:2380" >added
  [ -e "$name-peer.crt" ] || issue "$new"
  install "$new" "$what" "$(list "$@" "$new")" existing
  until_it_works etcdctl "$1" member promote "$(sed -n 's/^Member *\([0-9a-f]*\) added.*/\1/p' added)"
  ;;
esac
