"""Preview asks the cloud for a machine type's memory, and refuses a quota that does not fit."""

from pathlib import Path

from lab.engine import environment
from tests.components.test_cloud_previews import AMI, NOBODY, OFFLINE
from tests.support.aws_client import ENVIRON, moto
from tests.support.cloud_stacks import FILES, example, settings
from tests.support.hetzner_account import TOKEN, HetznerAccount, account, served
from tests.support.stacks import Run, Stack

__all__ = ["account", "served"]


def _assert_refused(run: Run, *words: str) -> None:
    assert run.code != 0
    for each in words:
        assert each in run.text, run.text
    assert "Traceback" not in run.text
    assert "Network" not in run.text, "nothing was declared"


def test_hetzner_reports_a_server_types_memory(account: HetznerAccount, tmp_path: Path) -> None:
    config = {"hcloud:endpoint": account.endpoint, "hcloud:token": TOKEN, "external-etcd:quota": "8GiB"}
    stack = Stack(tmp_path / "hetzner", environment(tmp_path / "engine"), {}, FILES, "external-etcd")
    stack.config = example("hetzner") | config
    settings(stack)["serverType"] = "cpx32"  # sold with 8 GB
    stack.preview()
    settings(stack)["slots"][1]["serverType"] = "cpx22"
    _assert_refused(
        stack.preview(check=False),
        "quota: given '8GiB'. The database must fit into memory, and a machine of type cpx22 (etcd-2) has 4GiB.",
        "Set quota to 4GiB or less, or choose a larger hetzner.serverType.",
    )


def test_aws_reports_an_instance_types_memory(tmp_path: Path) -> None:
    with moto() as endpoint:
        environ = {**environment(tmp_path / "engine"), **NOBODY, **ENVIRON, "AWS_ENDPOINT_URL": endpoint}
        stack = Stack(tmp_path / "aws", environ, {}, FILES, "external-etcd")
        stack.config = example("aws") | OFFLINE["aws"]
        settings(stack).update(ami=AMI, instanceType="t3.small")
        stack.preview()  # with the default quota, 2GiB
        settings(stack)["instanceType"] = "t3.micro"
        _assert_refused(
            stack.preview(check=False), "a machine of type t3.micro (etcd-1, etcd-2, etcd-3) has 1GiB", "Set quota to"
        )
