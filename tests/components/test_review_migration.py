"""`external-etcd review` of every phase of a migration, from previews by the real engine."""

import json
from typing import Any

import pytest

from tests.support.authority import OwnAuthority
from tests.support.pretended import AUTHORITY
from tests.support.reviews import HOST_KEY, PASSPHRASE, PRIVATE_KEY, Reviews, machines
from tests.support.stacks import Stacks

STACKED = OwnAuthority("etcd-ca")
PASSPHRASES = {"privateKeyPassphrase": "canary-of-a-control-plane"}
BASTION = {"host": "192.0.2.9", "hostKey": HOST_KEY, "privateKeyPassphrase": "canary-of-its-bastion"}
PLANES = [
    {
        "name": f"control-{n}",
        "address": f"192.0.2.{10 + n}",
        "ssh": {"hostKey": HOST_KEY, **PASSPHRASES, "bastion": BASTION},
    }
    for n in (1, 2, 3)
]
CONFIG: dict[str, Any] = {
    "version": "3.6.16",
    "machines": machines(1, 2, 3),
    "ssh": {"user": "root", "privateKeyPassphrase": PASSPHRASE},
    "sshPrivateKey": PRIVATE_KEY,
    "releaseMirror": "https://releases.example.com",
    "migration": {"phase": "join", "controlPlanes": PLANES},
}


def phase(name: str) -> dict[str, Any]:
    return {"migration": {"phase": name, "controlPlanes": PLANES}}


def test_the_comments_on_the_phases_of_a_migration_are_the_reviewed_ones(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    reviews = Reviews(Stacks(tmp_path_factory.mktemp("migration")).new([], **CONFIG))
    read = {"certificate": STACKED.certificate, "private_key": STACKED.private_key}
    reviews.stack.environ[AUTHORITY] = json.dumps(read)

    def compare(change: str, name: str, *conditions: str) -> None:
        reviews.assert_as_reviewed(change, reviews.preview(**phase(name)), {*conditions}, capsys)

    compare("migration join", "join")
    reviews.up(**phase("join"))
    compare("migration a skipped phase", "leave", "refused")
    compare("migration back", "back")
    compare("migration switch", "switch", "restart")
    reviews.up(**phase("switch"))
    compare("migration leave", "leave", "irreversible")
    reviews.up(**phase("leave"))
    compare("migration done", "done")
    compare("migration no way back", "back", "refused")
