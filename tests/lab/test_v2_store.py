"""An upgrade to etcd 3.6 is refused if the data contains API v2 entries, which would end it."""

import textwrap
from pathlib import Path

from lab import Machine
from tests.support.etcd import PKI, etcdctl, running_versions
from tests.support.machines import Machines, as_they_are
from tests.support.prober import probing
from tests.support.stacks import Stacks


def _api_v2(machine: Machine, method: str, data: str = "") -> None:
    """One API v2 request for the key /old, to a member that serves that API meanwhile."""
    drop_in = "/etc/systemd/system/etcd.service.d/v2.conf"
    restart = "systemctl daemon-reload && systemctl restart etcd"
    text = "[Service]\nEnvironment=ETCD_ENABLE_V2=true\n"
    machine.run(f"mkdir -p $(dirname {drop_in}) && cat >{drop_in} && {restart}", input=text, root=True)
    script = textwrap.dedent(
        f"""
        import ssl, urllib.request
        context = ssl.create_default_context(cafile="{PKI}/ca.crt")
        context.load_cert_chain("{PKI}/healthcheck-client.crt", "{PKI}/healthcheck-client.key")
        url = "https://{machine.address}:2379/v2/keys/old"
        request = urllib.request.Request(url, data={data.encode()!r} or None, method="{method}")
        print(urllib.request.urlopen(request, context=context, timeout=10).read().decode())
        """
    )
    machine.run("python3 -", root=True, input=script)
    machine.run(f"rm {drop_in} && {restart}", root=True)


def test_an_upgrade_with_api_v2_data_is_refused(machines: Machines, stacks: Stacks, tmp_path: Path) -> None:
    found = machines.fresh(1)
    stack = stacks.new(found, version="3.5.35")
    stack.up()
    _api_v2(found[0], "PUT", "value=1")

    before = as_they_are(found)
    stack.config["version"] = "3.6.16"
    with probing(stack, found, tmp_path, "An upgrade refused for API v2"):
        refused = stack.up(check=False)
    assert refused.code != 0
    assert "contain API v2 data, which etcd 3.6.16 cannot read" in refused.text
    assert "nothing was changed" in refused.text
    assert as_they_are(found) == before

    # The remedy in the message.
    _api_v2(found[0], "DELETE")
    stack.config |= {"version": "3.5.35", "flags": {"snapshot-count": "1"}}
    stack.up()
    etcdctl(found[0], "put", "a", "b")
    stack.config |= {"version": "3.6.16", "flags": {}}
    stack.up()
    assert running_versions(found) == ["3.6.16"]
