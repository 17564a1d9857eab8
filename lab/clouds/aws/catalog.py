"""The public images of the emulated account, with the names and owners that they have in AWS.

Their ids differ from region to region, as in AWS. All of them boot the lab's Debian.
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
        root: The device name of its root volume in the API.
        name: Of its images; `{arch}` is amd64 or arm64, `{machine}` x86_64 or arm64, `{build}` one of `builds`.
        builds: From old to new: build and publication date.
    """

    owner: str
    root: str
    name: str
    builds: tuple[tuple[str, str], ...]


RELEASES = (
    Release(
        DEBIAN,
        "/dev/xvda",
        "debian-12-{arch}-{build}",
        (("20260809-2565", "2026-08-09"), ("20261018-2634", "2026-10-18")),
    ),
    Release(
        CANONICAL,
        "/dev/sda1",
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{arch}-server-{build}",
        (("20260821", "2026-08-21"), ("20261022", "2026-10-22")),
    ),
    Release(
        AMAZON,
        "/dev/xvda",
        "al2023-ami-2023.{build}-kernel-6.1-{machine}",
        (("9.20260901.0", "2026-09-01"), ("10.20261019.0", "2026-10-19")),
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


def images(region: str) -> Iterator[Image]:
    """All images of a region."""
    for release in RELEASES:
        for architecture in _ARCHITECTURES:
            for build, day in release.builds:
                name = _fill(release.name, architecture, build)
                number = hashlib.sha256(f"{region} {name}".encode()).hexdigest()[:17]
                yield Image(f"ami-{number}", name, architecture, f"{day}T06:00:00.000Z", release)


def _fill(text: str, machine: str, build: str) -> str:
    return text.format(arch={"x86_64": "amd64"}.get(machine, machine), machine=machine, build=build)
