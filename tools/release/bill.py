"""The software bill of materials of a release, as CycloneDX 1.6 in JSON.

It lists what a release does not contain and brings along: the Python packages of requirements.txt with the checksums
that pip accepts, and the programs that the machines download.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import tomllib
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.bom_ref import BomRef
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tools.base import ToolError
from tools.release.source import PROJECT, Source

REQUIREMENTS = "requirements.txt"
_PACKAGE = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_EXTRA = re.compile(r"^[A-Za-z0-9._-]+")
# For the serial number of a build, which must be the same if it is repeated.
_NAMESPACE = uuid.UUID("5b0f2b52-6f0c-4b0c-8f26-0b6f4f9c8a11")
_SOURCES = {"etcd": "etcd-io/etcd", "rclone": "rclone/rclone", "age": "FiloSottile/age"}
_LICENSES = {"etcd": "Apache-2.0", "rclone": "MIT", "age": "BSD-3-Clause"}
_OWN = "external-etcd:"
"""Prefix of the names of our own properties."""


@dataclass(frozen=True)
class Pinned:
    """A package in requirements.txt.

    Attributes:
        hashes: SHA-256 of each of its files, in hexadecimal.
        because_of: the packages that need it; `-r requirements.in` stands for the project.
    """

    version: str
    hashes: tuple[str, ...]
    because_of: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """An archive with programs that machines download.

    Attributes:
        archives: URL -> SHA-256, or empty if the release's SHA256SUMS decides.
        always: whether every machine downloads it; otherwise only with `backup`, or another `version`.
    """

    name: str
    version: str
    archives: Mapping[str, str]
    always: bool


def pinned(requirements: str) -> dict[str, Pinned]:
    """Name -> package, of the text of a requirements.txt by pip-compile.

    Raises:
        ToolError: a package has no checksum.
    """
    found: dict[str, Pinned] = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", requirements):
        package = _PACKAGE.match(block)
        if package is None:
            continue
        _, _, comment = block.partition("# via")
        hashes = tuple(sorted(_HASH.findall(block)))
        if not hashes:
            raise ToolError(f"{package[1]} has no --hash in {REQUIREMENTS}. Pin it again, as CONTRIBUTING.md says.")
        because = tuple(line.strip("# ") for line in comment.splitlines() if line.strip("# "))
        found[package[1]] = Pinned(package[2], hashes, because)
    return found


def programs() -> list[Program]:
    """What machines download with the default release mirror."""
    from components.plan.backup import BackupPlan, archives, backup_spec  # noqa: PLC0415 (needs .venv)
    from components.plan.releases import ARCHITECTURES, DEFAULT_MIRROR  # noqa: PLC0415
    from components.plan.versions import DEFAULT_VERSION, MINORS, newest  # noqa: PLC0415

    found = []
    for version in (str(newest(series)) for series in MINORS):
        place = f"{DEFAULT_MIRROR}/v{version}"
        urls = dict.fromkeys((f"{place}/etcd-v{version}-linux-{arch}.tar.gz" for arch in ARCHITECTURES), "")
        found.append(Program("etcd", version, urls, version == DEFAULT_VERSION))
    for name, about in backup_spec(BackupPlan(()), DEFAULT_MIRROR)["programs"].items():
        urls = {f"{about['place']}/{file}": about["sha256"].get(arch, "") for arch, file in archives(name).items()}
        found.append(Program(name, about["version"], urls, False))
    return found


def bill_of_materials(files: Path, source: Source) -> str:
    """The bill for the project in `files`, as text; the same in every build of a commit.

    Raises:
        ToolError: it does not fit the schema of CycloneDX.
    """
    project = tomllib.loads((files / PROJECT).read_text())["project"]
    packages = pinned((files / REQUIREMENTS).read_text())
    optional = {_name(each): extra for extra, needs in project["optional-dependencies"].items() for each in needs}
    direct = {*(_name(each) for each in project["dependencies"]), *optional}
    if absent := sorted(direct - packages.keys()):
        raise ToolError(f"{', '.join(absent)}: a dependency in {PROJECT} that {REQUIREMENTS} does not pin. Pin it.")

    root = Component(
        name=project["name"],
        version=source.version,
        type=ComponentType.LIBRARY,
        bom_ref=BomRef(project["name"]),
        purl=PackageURL("pypi", None, project["name"], source.version),
        licenses=[DisjunctiveLicense(id=project["license"])],
        description=project["description"],
        properties=[Property(name=f"{_OWN}commit", value=source.commit)],
    )
    libraries = {name: _library(name, each, optional.get(name, "")) for name, each in packages.items()}
    installed = [_program(each) for each in programs()]
    bom = Bom(
        components=[*libraries.values(), *installed],
        serial_number=uuid.uuid5(_NAMESPACE, f"{source.version} {source.commit}"),
    )
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(source.time, timezone.utc)
    bom.register_dependency(root, [*(libraries[name] for name in sorted(direct)), *installed])
    for name, library in libraries.items():
        bom.register_dependency(library, [libraries[each] for each in packages if name in packages[each].because_of])
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"
    validate(text)
    return text


def validate(bill: str) -> None:
    """Check the bill against the schema of CycloneDX 1.6.

    Raises:
        ToolError: it does not fit.
    """
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
    if problem is not None:
        raise ToolError(f"The bill of materials does not fit the schema of CycloneDX 1.6: {problem}")


def _name(requirement: str) -> str:
    found = _EXTRA.match(requirement)
    return found[0] if found else requirement


def _library(name: str, package: Pinned, extra: str) -> Component:
    about = [Property(name=f"{_OWN}hashes", value="one of each published file; pip accepts no other file")]
    if extra:
        about.append(Property(name=f"{_OWN}extra", value=extra))
    return Component(
        name=name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=BomRef(f"pypi/{name}"),
        purl=PackageURL("pypi", None, name, package.version),
        scope=ComponentScope.OPTIONAL if extra else ComponentScope.REQUIRED,
        hashes=_hashes(package.hashes),
        properties=about,
    )


def _program(program: Program) -> Component:
    owner, _, repository = _SOURCES[program.name].partition("/")
    about = "The machine compares the archive with the SHA256SUMS beside it, or with the SHA-256 in the configuration."
    return Component(
        name=program.name,
        version=program.version,
        type=ComponentType.APPLICATION,
        bom_ref=BomRef(f"github/{program.name}@{program.version}"),
        purl=PackageURL("github", owner, repository, f"v{program.version}"),
        licenses=[DisjunctiveLicense(id=_LICENSES[program.name])],
        scope=ComponentScope.REQUIRED if program.always else ComponentScope.OPTIONAL,
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(url),
                comment="The machine accepts only an archive with this SHA-256." if digest else about,
                hashes=_hashes([digest] if digest else []),
            )
            for url, digest in program.archives.items()
        ],
        properties=[Property(name=f"{_OWN}installed-on", value="machines")],
    )


def _hashes(digests: Iterable[str]) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests]
