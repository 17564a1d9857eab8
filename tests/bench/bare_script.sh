#!/bin/bash
# The floor: an etcd cluster by openssl and ssh, all members in parallel, without a check, a gate, hardening or a second run.
# Usage: bare_script.sh DIR KEY KNOWN_HOSTS URL NAME=ADDRESS...
set -euo pipefail
dir=$1 key=$2 known_hosts=$3 url=$4
shift 4
cd "$dir"
run() { ssh -F none -i "$key" -o UserKnownHostsFile="$known_hosts" -o BatchMode=yes -o LogLevel=ERROR "operator@$1" "${@:2}"; }

openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -subj /CN=etcd-ca -days 3650 -out ca.crt 2>/dev/null
cluster=
for member in "$@"; do
  name=${member%=*} address=${member#*=}
  cluster=$cluster,$name=https://$address:2380
  for kind in server peer; do
    openssl ecparam -name prime256v1 -genkey -noout -out "$name-$kind.key"
    openssl req -new -key "$name-$kind.key" -subj "/CN=$name" -out "$name-$kind.csr"
    printf 'subjectAltName=DNS:%s,IP:%s,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' "$name" "$address" >"$name-$kind.ext"
    openssl x509 -req -in "$name-$kind.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 \
      -extfile "$name-$kind.ext" -out "$name-$kind.crt" 2>/dev/null
  done
done

install() {
  local name=$1 address=$2
  tar c ca.crt "$name"-{server,peer}.{crt,key} | run "$address" "sudo sh -euc '
    mkdir -p /etc/bare /opt/bare && cd /etc/bare && tar x
    python3 -c \"import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())\" $url |
      tar xz --strip-components=1 -C /opt/bare
    cat >/etc/systemd/system/bare-etcd.service <<UNIT
[Service]
Type=notify
ExecStart=/opt/bare/etcd --name $name --data-dir /var/lib/bare-etcd --initial-cluster ${cluster#,} \
  --initial-advertise-peer-urls https://$address:2380 --listen-peer-urls https://$address:2380 \
  --advertise-client-urls https://$address:2379 --listen-client-urls https://$address:2379,https://127.0.0.1:2379 \
  --cert-file /etc/bare/$name-server.crt --key-file /etc/bare/$name-server.key --trusted-ca-file /etc/bare/ca.crt \
  --client-cert-auth --peer-cert-file /etc/bare/$name-peer.crt --peer-key-file /etc/bare/$name-peer.key \
  --peer-trusted-ca-file /etc/bare/ca.crt --peer-client-cert-auth
UNIT
    systemctl daemon-reload
    systemctl start --no-block bare-etcd
  '"
}
for member in "$@"; do install "${member%=*}" "${member#*=}" & done
for job in $(jobs -p); do wait "$job"; done

name=${1%=*} address=${1#*=}
for _ in $(seq 100); do
  run "$address" "sudo /opt/bare/etcdctl --endpoints https://$address:2379 --cacert /etc/bare/ca.crt --cert /etc/bare/$name-server.crt \
    --key /etc/bare/$name-server.key --dial-timeout 1s endpoint health --cluster" >health 2>&1 && exit 0
  sleep 0.1
done
cat health
exit 1
