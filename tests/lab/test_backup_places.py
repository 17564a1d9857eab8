"""Where snapshots can go: a store that lets members write and not delete, and a directory on another machine."""

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import process_ids
from tests.support.machines import Machines
from tests.support.s3_server import BUCKET, S3Server
from tests.support.sshd import new_key as new_ssh_key

from .test_backups import NEVER, decrypted, new_key, refused, status, waiting

ACCESS, SECRET = "members-access-key", "members-secret-access-key"
DIRECTORY = "/srv/etcd"
# Only IMDSv2, as the machines on AWS have it: a token first, then the credentials of the profile's role.
METADATA_SERVICE = f"""
import http.server, json
ROLE = "/latest/meta-data/iam/security-credentials/"
KEYS = {{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "{ACCESS}", "SecretAccessKey": "{SECRET}",
        "Token": "", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z"}}
class Service(http.server.BaseHTTPRequestHandler):
    def answer(self, text):
        self.send_response(200 if text else 401)
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "300")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def do_PUT(self):
        self.answer("the-token" if self.path == "/latest/api/token" else "")
    def do_GET(self):
        known = {{ROLE: "members", ROLE + "members": json.dumps(KEYS)}}
        self.answer(known.get(self.path, "") if self.headers["X-aws-ec2-metadata-token"] == "the-token" else "")
http.server.HTTPServer(("169.254.169.254", 80), Service).serve_forever()
"""


@pytest.fixture
def store(machines: Machines, tmp_path: Path) -> Iterator[S3Server]:
    machines.lab.open()
    found = S3Server(tmp_path, machines.lab.address, {ACCESS: SECRET})
    found.start()
    try:
        yield found
    finally:
        found.close()


def make_bucket(store: S3Server) -> None:
    """With object lock, and a policy as `AwsBackupBucket` has it: members write, read and list, and do not delete."""
    things = f"arn:aws:s3:::{BUCKET}"
    allowed = {
        f"{things}/*": ["s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:AbortMultipartUpload"],
        things: ["s3:ListBucket"],
    }
    statements = [
        {"Effect": "Allow", "Principal": {"AWS": [ACCESS]}, "Action": actions, "Resource": resource}
        for resource, actions in allowed.items()
    ]
    client = store.client()
    client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))


def serve_metadata(machine: Machine) -> None:
    """A metadata service at its address, reached like that of a cloud."""
    machine.run("cat >/run/metadata.py", input=METADATA_SERVICE, root=True)
    machine.run(
        "set -e; ip netns add cloud; ip link add tocloud type veth peer name card netns cloud;"
        "ip addr add 169.254.169.1/30 dev tocloud; ip link set tocloud up; ip route add 169.254.169.254 dev tocloud;"
        "ip -n cloud addr add 169.254.169.254/32 dev card; ip -n cloud link set card up; ip -n cloud link set lo up;"
        "ip -n cloud route add 169.254.169.1 dev card;"
        "systemd-run -q --unit=cloud ip netns exec cloud python3 -I /run/metadata.py;"
        "for n in $(seq 100); do timeout 1 bash -c '</dev/tcp/169.254.169.254/80' && exit; sleep 0.1; done; exit 1",
        root=True,
    )


def take(machine: Machine) -> str:
    """Takes a snapshot; returns its name."""
    machine.run("etcd-node snapshot", root=True)
    assert waiting(machine) == []
    return str(status(machine)["snapshots"]["last"]["name"])


def test_members_store_snapshots_where_they_cannot_delete_them_and_on_another_machine(
    bootstrapped: Bootstrapped, store: S3Server, tmp_path: Path
) -> None:
    """The store has versions and object lock. The other machine is known by its host key alone."""
    found, stack = bootstrapped(machines=4)
    machine, other = found[0], found[3]
    private, public = new_key(tmp_path)
    before = process_ids(found[:3])
    make_bucket(store)
    serve_metadata(machine)
    # No access key is configured: rclone gets that of the instance's profile.
    s3 = {
        **{"endpoint": store.endpoint, "bucket": BUCKET, "prefix": "lab", "region": "us-east-1"},
        "objectLock": {"mode": "COMPLIANCE", "days": 30},
    }
    stack.config["backup"] = {"schedule": NEVER, "recipients": [public], "s3": s3}
    stack.up()
    names = [take(machine), take(machine)]
    assert store.names("lab") == sorted(names)
    decrypted(store.bucket / "lab" / names[0], private, tmp_path)
    keys = [f"lab/{name}" for name in names]
    client = store.client()
    for key in keys:
        locked = client.get_object_retention(Bucket=BUCKET, Key=key)["Retention"]
        stored = client.head_object(Bucket=BUCKET, Key=key)["LastModified"]
        assert (locked["Mode"], (locked["RetainUntilDate"] - stored).days) in (("COMPLIANCE", 29), ("COMPLIANCE", 30))

    stack.config["backup"]["keep"] = {"hourly": 1}
    stack.up()
    said = refused(machine)
    assert "is stored, but older snapshots could not be deleted: rclone could not delete in s3:etcd/lab: " in said
    assert "Without `backup.keep`, machines delete nothing, and the store's own rules can do it." in said
    assert waiting(machine) == []
    assert {*names} < {*store.names("lab")}
    assert len(store.names("lab")) == 3

    key, public_key = new_ssh_key()
    other.run("useradd --create-home --password '*' keeper && install -d -o keeper -m 700 ~keeper/.ssh", root=True)
    ssh = {"host": other.address, "user": "keeper", "directory": DIRECTORY, "hostKey": other.host_key}
    stack.config["backup"] = {
        **{"schedule": NEVER, "recipients": [public], "keep": {"hourly": 1}},
        "ssh": {**ssh, "privateKey": key},
    }
    run = stack.up()
    secret = key.split("\n")[1]
    assert secret not in run.text + json.dumps(stack.export())
    assert machine.run("stat -c %a,%U /var/lib/etcd-node/rclone.conf", root=True).stdout.strip() == "600,root"
    assert "authorized_keys" in refused(machine)
    allowed = f'restrict,command="internal-sftp" {public_key.strip()}\n'
    other.run("cat >~keeper/.ssh/authorized_keys; chmod 644 ~keeper/.ssh/authorized_keys", input=allowed, root=True)
    assert f"there is no directory {DIRECTORY} on {other.address}" in refused(machine)
    assert len(waiting(machine)) == 1
    other.run(f"install -d -o keeper -m 700 {DIRECTORY}", root=True)
    take(machine)
    last = take(machine)
    assert other.run(f"ls -A {DIRECTORY}", root=True).stdout.split() == [last]
    copy = tmp_path / last
    copy.write_bytes(b64decode(other.run(f"base64 {DIRECTORY}/{last}", root=True).stdout))
    decrypted(copy, private, tmp_path)
    place = f"ssh:keeper@{other.address}:{DIRECTORY}"
    assert status(machine)["snapshots"]["last"]["place"] == place

    other.run("rm /etc/ssh/ssh_host_* && ssh-keygen -A && systemctl restart ssh", root=True)
    assert "Another machine answers there, or it has a new host key" in refused(machine)
    assert other.run(f"ls -A {DIRECTORY}", root=True).stdout.split() == [last]
    assert process_ids(found[:3]) == before
