"""A certificate inside its renewal window is renewed by the next `pulumi up`, without a restart of etcd."""

import subprocess

from lab import Machine
from tests.support.etcd import assert_serves_all_members, process_ids
from tests.support.machines import Machines
from tests.support.stacks import Stacks


def served(machine: Machine, port: int) -> str:
    """Serial number of the certificate that etcd presents on a port."""
    show = f"echo | openssl s_client -connect {machine.address}:{port} 2>/dev/null | openssl x509 -noout -serial"
    return subprocess.run(show, shell=True, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S602


def test_certificates_in_their_renewal_window_are_renewed_and_served_without_a_restart(
    machines: Machines, stacks: Stacks
) -> None:
    found = machines.fresh(3)
    # Valid for two hours and due for renewal three hours before their end: due at once, and every time.
    stack = stacks.new(found, certificates={"validityHours": 2, "earlyRenewalHours": 3})
    stack.up()
    processes = process_ids(found)
    before = {(m.name, port): served(m, port) for m in found for port in (2379, 2380)}

    preview = stack.preview("--diff")
    stack.up()

    after = {(m.name, port): served(m, port) for m in found for port in (2379, 2380)}
    assert "tls:index/locallySignedCert:LocallySignedCert: (replace)" in preview.text
    assert all(before[key] != after[key] for key in before), (before, after)
    assert process_ids(found) == processes
    assert_serves_all_members(found)
