"""The public images that the emulated account knows, under the names and owners that they have in AWS.

Their ids differ from region to region, as in AWS. Whatever the image, the machine that boots is the lab's Debian.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

DEBIAN, CANONICAL, AMAZON = "136693071363", "099720109477", "137112412989"
_ARCHITECTURES = ("x86_64", "arm64")


@dataclass(frozen=True)
class Release:
    """One distribution.

    Attributes:
        owner: The account that publishes it.
        user: Who may log in with the key pair.
        root: The device that its root volume is, to the API.
        name: Of its images; `{arch}` is amd64 or arm64, `{machine}` x86_64 or arm64, `{build}` one of `builds`.
        builds: From old to new: build, and the day it was published.
        parameters: Public parameters of SSM with the id of the newest.
    """

    owner: str
    user: str
    root: str
    name: str
    builds: tuple[tuple[str, str], ...]
    parameters: tuple[str, ...]


RELEASES = (
    Release(
        DEBIAN,
        "admin",
        "/dev/xvda",
        "debian-12-{arch}-{build}",
        (("20260809-2565", "2026-08-09"), ("20261018-2634", "2026-10-18")),
        ("/aws/service/debian/release/12/latest/{arch}",),
    ),
    Release(
        CANONICAL,
        "ubuntu",
        "/dev/sda1",
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{arch}-server-{build}",
        (("20260821", "2026-08-21"), ("20261022", "2026-10-22")),
        ("/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id",),
    ),
    Release(
        AMAZON,
        "ec2-user",
        "/dev/xvda",
        "al2023-ami-2023.{build}-kernel-6.1-{machine}",
        (("9.20260901.0", "2026-09-01"), ("10.20261019.0", "2026-10-19")),
        (
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-{machine}",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{machine}",
        ),
    ),
)


@dataclass(frozen=True)
class Image:
    """One image in one region."""

    id: str
    name: str
    architecture: str
    created: str
    release: Release
    newest: bool

    @property
    def parameters(self) -> list[str]:
        """The public parameters that name it."""
        return [_fill(text, self.architecture, "") for text in self.release.parameters] if self.newest else []


def images(region: str) -> Iterator[Image]:
    """All images of a region."""
    for release in RELEASES:
        for architecture in _ARCHITECTURES:
            for build, day in release.builds:
                name = _fill(release.name, architecture, build)
                number = hashlib.sha256(f"{region} {name}".encode()).hexdigest()[:17]
                newest = build == release.builds[-1][0]
                yield Image(f"ami-{number}", name, architecture, f"{day}T06:00:00.000Z", release, newest)


def _fill(text: str, machine: str, build: str) -> str:
    return text.format(arch={"x86_64": "amd64"}.get(machine, machine), machine=machine, build=build)
