"""What others change on a machine is found, named, and put right by the next update; nothing else restarts."""

from tests.support.bootstrapped import Bootstrapped


def test_drift(bootstrapped: Bootstrapped) -> None:
    found, _ = bootstrapped()
    for machine in found:
        print(machine.run("time etcd-node drift; cat /var/lib/etcd-node/written.json | head -c 6000", root=True).stdout)
    two = found[1]
    two.run("echo '# x' >> /etc/systemd/system/etcd.service; chmod 644 /etc/etcd/pki/server.key; rm /etc/etcd/pki/peer.crt; chown root /var/lib/etcd; rm /usr/local/bin/etcdctl; echo x >> /opt/etcd/v*/etcdutl", root=True)
    print(two.run("etcd-node drift; etcd-node drift --json", root=True).stdout)
