"""Pulls etcd's image from a registry by its digest, with `ctr`, which comes with containerd.

It follows containerd's own configuration of a registry: plain http, a private CA and mirrors are set there. `ctr` takes
a password from its command line, which all users of the machine can read, or from a terminal. So it is typed.
"""

from __future__ import annotations

import platform
import re
import urllib.request

from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import more_time
from ..shared.spec import Spec

CTR = ("ctr", "--namespace=k8s.io")
"""With the images of the kubelet."""
_HOSTS = "/etc/containerd/certs.d"
_SECONDS = 600
# The first that is found in the last line of `ctr` -> cause and remedy. {host} is the registry's, {machine} the
# processor's architecture.
_CAUSES = (
    (
        r"\b401\b|\b403\b|authorization failed|insufficient_scope|no basic auth credentials",
        "{host} refuses the pull",
        "Set `etcdImageCredentials` to USER:PASSWORD of an account that may pull this image. Registries of clouds give "
        "passwords that expire. Then run again.",
    ),
    (
        r"x509|tls:|HTTP response to HTTPS client",
        "containerd does not trust {host}, or the registry speaks plain http",
        'Describe the registry in {hosts}/{host}/hosts.toml on every machine: `[host."https://..."]` with its `ca`, or '
        '`[host."http://..."]`. Then run again.',
    ),
    (
        r"no match for platform",
        "it has no image for this machine ({machine})",
        "Use the digest of an image for this architecture, or of an index of images that has one.",
    ),
    (
        r"not found",
        "{host} has no such image",
        "Check name and digest in `etcdImage`. Some registries also say this to an account that may not pull the "
        "image, or without one (`etcdImageCredentials`).",
    ),
    (
        r"failed to do request|dial tcp|timeout|deadline exceeded|connection reset|EOF",
        "{host} cannot be reached",
        "Check that this machine reaches the registry (route, name, proxy), and its entry in {hosts}, if there is one. "
        "Then run again.",
    ),
)


def pull(spec: Spec) -> str:
    """Pulls the image, and returns its name in containerd: without a tag, because the digest alone counts.

    Raises:
        NodeError: it cannot be pulled; says why.
    """
    image = re.sub(r":[^:/@]+@", "@", spec.image)
    user, _, password = spec.image_credentials.partition(":")
    words = [*CTR, "images", "pull", f"--hosts-dir={_HOSTS}", *([f"--user={user}"] if user else [])]
    # Else, containerd 2 pulls by itself, with other messages and the proxy of its own unit.
    if "--local" in run([*CTR, "images", "pull", "--help"], 20, check=False).stdout:
        words.append("--local")
    more_time(_SECONDS)
    done = run([*words, image], _SECONDS, check=False, env=_proxies(spec.release.proxy), typed=password)
    if done.returncode:
        raise _refusal(spec.image, (done.stderr or done.stdout).strip())
    return image


def _proxies(proxy: str) -> dict[str, str]:
    """The proxy for downloads, as variables: the given one, else that of the environment."""
    given = {"http": proxy, "https": proxy} if proxy else {}
    return {f"{scheme}_proxy": url for scheme, url in {**urllib.request.getproxies_environment(), **given}.items()}


def _refusal(image: str, said: str) -> NodeError:
    # A redirect's query can have a signature.
    last = re.sub(r"\?[^\s\"']*", "?...", said.rpartition("\n")[2])[:600] or "ctr said nothing"
    known = {"host": image.partition("/")[0], "hosts": _HOSTS, "machine": platform.machine()}
    cause, remedy = next(
        (each[1:] for each in _CAUSES if re.search(each[0], last)), ("ctr failed", "Remove the cause, then run again.")
    )
    return NodeError(f"{image} cannot be pulled: {cause.format(**known)}; {last}", remedy.format(**known))
