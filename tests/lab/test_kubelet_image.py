"""etcd's image by digest from a registry, files that flags name, and a restore: under a real kubelet.

The tests share their machines and their cluster, in this order.
"""

import base64
import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab import Machine, kubernetes
from tests.support.etcd import assert_serves_all_members, etcdctl
from tests.support.machines import Machines
from tests.support.prober import probed_up
from tests.support.registry import Registry
from tests.support.stacks import Stack, Stacks
from tests.support.versions import DEFAULT_ETCD
from tests.support.waiting import every
from tools.kubernetes import ensure_member_image

HOST, PASSWORD = "registry.example.com", "p4ss: $(word)"
LIST = "/etc/etcd-files/revoked.crl"
PID = "pgrep -f '^/usr/local/bin/etcd '"
# With the image of the pod's sandbox, which containerd would pull by itself. Etcd's is another version's, and not ours.
PRELOADED = "http://releases.lab/images/etcd-3.5.35.tar"
PRELOAD = f"""\
python3 -c 'import shutil, sys, urllib.request as u; shutil.copyfileobj(u.urlopen("{PRELOADED}"), sys.stdout.buffer)' |
    ctr -n k8s.io images import -
"""


@dataclass(frozen=True)
class Cluster:
    """Three members in static pods, and the registry of their image."""

    machines: list[Machine]
    stack: Stack
    registry: Registry
    address: str
    """For the registry."""


@pytest.fixture(scope="module")
def cluster(machines: Machines, stacks: Stacks) -> Iterator[Cluster]:
    ensure_member_image("3.5.35")
    found = kubernetes.up_kubelets(machines.lab, [f"image-{n}" for n in range(1, 4)])
    machines.lab.mirror()
    for machine in found:
        machine.run(PRELOAD, root=True, timeout=120)
    registry = Registry({"etcd": ensure_member_image(DEFAULT_ETCD)}, f"robot$etcd:{PASSWORD}")
    stack = stacks.new(found, serviceManager="kubelet", etcdImage=by_digest(registry.digests["etcd"][0]))
    stack.pulumi("config", "set", "--secret", "etcdImageCredentials", registry.login)
    written = yaml.safe_load((stack.directory / f"Pulumi.{stack.directory.name}.yaml").read_text())
    stack.config["etcdImageCredentials"] = written["config"]["external-etcd:etcdImageCredentials"]
    try:
        yield Cluster(found, stack, registry, machines.lab.address)
    finally:
        machines.lab.remove(*(machine.name for machine in found))


def by_digest(digest: str) -> str:
    return f"{HOST}/kubernetes/etcd:{DEFAULT_ETCD}-0@{digest}"


def set_registry(machine: Machine, url: str) -> None:
    # Without a table `host`, containerd 1.6 ignores the file.
    kubernetes.write(machine, f"/etc/containerd/certs.d/{HOST}/hosts.toml", f'server = "{url}"\n[host."{url}"]\n')


def write_list(machine: Machine, serial: int) -> None:
    """A list that revokes the certificate with this serial number, in the place of the one before."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ours")])
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer).last_update(now)
    made = builder.next_update(now + datetime.timedelta(1)).add_revoked_certificate(revoked).sign(key, hashes.SHA256())
    text = base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()
    script = f"mkdir -p $(dirname {LIST}) && base64 -d >{LIST}.new && mv {LIST}.new {LIST}"
    machine.run(script, input=text, root=True)


def pods(machines: list[Machine]) -> dict[str, str]:
    """Member -> pid and start of etcd in its pod; empty if it does not run."""
    look = f"pid=$({PID}) && cut -d ' ' -f 1,22 /proc/$pid/stat"
    return {machine.name: machine.run(look, root=True, check=False).stdout for machine in machines}


def images(machine: Machine) -> list[tuple[str, str]]:
    """Name and digest of every image; a name that is an ID is `ID`."""
    rows = machine.run("ctr -n k8s.io images ls", root=True).stdout.splitlines()[1:]
    found = [line.split() for line in rows]
    return sorted(("ID" if row[0].startswith("sha256:") else row[0], row[2]) for row in found)


def test_an_image_is_pulled_by_digest_with_credentials(cluster: Cluster) -> None:
    found, stack, registry = cluster.machines, cluster.stack, cluster.registry
    preloaded = images(found[0])
    others = Registry({}, "robot$etcd:another"), Registry({})
    with (
        registry.serving(cluster.address) as url,
        others[0].serving(cluster.address) as closed,
        others[1].serving(cluster.address) as empty,
    ):
        for machine, server in zip(found, (url.replace("http:", "https:"), closed, empty), strict=True):
            set_registry(machine, server)
        refused = stack.up(check=False)
        assert refused.code
        print("\n".join(line for line in refused.text.splitlines() if "cannot be pulled" in line))
        for said in (f"containerd does not trust {HOST}", f"{HOST} refuses the pull", f"{HOST} has no such image"):
            assert said in refused.text
        assert not any(pods(found).values())
        for machine in found:
            set_registry(machine, url)
        run = stack.up()
        print(f"three static pods, pulled: {run.seconds:.1f} s")
    assert_serves_all_members(found)
    for machine in found:
        added = set(images(machine)) - set(preloaded)
        digest = registry.digests["etcd"][0]
        assert added == {(f"localhost/external-etcd:{digest[7:31]}", digest), ("ID", digest)}
    # Nobody can pull any more, and nobody needs to.
    asked = len(registry.asked)
    before = pods(found)
    found[0].run(f"kill -9 $({PID})", root=True)
    for _ in every(0.2, seconds=60):
        if etcdctl(found[0], "get", "written", "--command-timeout=1s", check=False):
            break
    assert pods(found)[found[0].name] != before[found[0].name]
    stack.up("--expect-no-changes")
    assert_serves_all_members(found)
    assert len(registry.asked) == asked
    for text in (refused.text, run.text, json.dumps(stack.export()), stack.pulumi("stack", "output", "--json").text):
        assert PASSWORD not in text
    search = "grep -rlFf - /etc /var /opt /usr/local /root /home /tmp /run || true"
    assert found[0].run(search, input=f"{PASSWORD}\n", root=True, timeout=120).stdout == ""


def test_another_image_and_a_file_that_a_flag_names_reach_static_pods(cluster: Cluster, tmp_path: Path) -> None:
    found, stack, registry = cluster.machines, cluster.stack, cluster.registry
    before = pods(found)
    stack.config |= {"version": "3.7.3", "etcdImage": by_digest(registry.digests["etcd"][1])}
    with registry.serving(cluster.address) as url:
        for machine in found:
            set_registry(machine, url)
        refused = stack.up(check=False)
        assert f"has etcd {DEFAULT_ETCD}, and the configuration says 3.7.3" in refused.text
        assert pods(found) == before
        del stack.config["version"]
        stack.config["flags"] = {"client-crl-file": LIST}
        for machine in found:
            write_list(machine, 1)
        _, probe = probed_up(stack, found, tmp_path, "Another image of static pods")
    assert probe.downs == [machine.name for machine in found]
    digest = registry.digests["etcd"][1]
    for machine in found:
        ours = [row for row in images(machine) if row[0].startswith("localhost/") or row[1] in registry.contents]
        assert ours == sorted([(f"localhost/external-etcd:{digest[7:31]}", digest), ("ID", digest)])
    # A renewed list is another file with the same name, and counts at once.
    ask = ("get", "written", "--command-timeout=1s")
    serial = found[0].run("openssl x509 -in /etc/etcd/pki/healthcheck-client.crt -noout -serial", root=True).stdout
    for revoked, answer in ((int(serial.partition("=")[2], 16), ""), (1, f"written\n{found[0].name}\n")):
        write_list(found[0], revoked)
        assert etcdctl(found[0], *ask, check=False) == answer


def test_static_pods_are_restored_from_a_snapshot(cluster: Cluster, tmp_path: Path) -> None:
    found, stack = cluster.machines, cluster.stack
    etcdctl(found[0], "put", "kept", "yes")
    etcdctl(found[0], "snapshot", "save", "/root/snapshot.db")
    snapshot = tmp_path / "snapshot.db"
    snapshot.write_bytes(base64.b64decode(found[0].run("base64 /root/snapshot.db", root=True).stdout))
    etcdctl(found[0], "put", "kept", "no")
    before = pods(found)
    stack.config["restore"] = {"from": str(snapshot), "confirm": "test"}
    run = stack.up()
    print(f"three static pods, restored: {run.seconds:.1f} s")
    assert "0 of 3 voters running" in run.text
    assert not set(pods(found).values()) & {*before.values(), ""}
    assert_serves_all_members(found)
    for machine in found:
        assert etcdctl(machine, "get", "kept", "--print-value-only") == "yes\n"
    after = pods(found)
    stack.up("--expect-no-changes")
    assert pods(found) == after


def test_a_destroyed_cluster_leaves_only_images_of_others(cluster: Cluster) -> None:
    cluster.stack.destroy()
    for machine in cluster.machines:
        assert not [row for row in images(machine) if row[0].startswith("localhost/") or HOST in row[0]]
        assert not [row for row in images(machine) if row[1] in cluster.registry.contents]
        assert [row for row in images(machine) if row[0].endswith("/etcd:3.5.35-0")]
