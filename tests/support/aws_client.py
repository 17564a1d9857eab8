"""The stand-in plugin aws in this process, called like the engine does, with moto and no machines."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lab.plugins.aws import make_plugin
from lab.plugins.wire import Secret
from tests.support.plugin_client import PluginClient, running

REGION = "eu-central-1"
ENVIRON = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION}


class AwsClient(PluginClient):
    """One type of resource of the plugin, by its token without `aws:`."""

    @staticmethod
    def token(kind: str) -> str:
        return f"aws:{kind}"


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """An empty moto server; yields its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        # All servers of one process share one account.
        urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST"), timeout=20).close()  # noqa: S310
        yield address
    finally:
        server.stop()


def client(endpoint: str, service: str = "ec2") -> Any:
    """A boto3 client of that server."""
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint, **keys)


@contextlib.contextmanager
def aws(endpoint: str, **settings: Any) -> Iterator[AwsClient]:
    """The plugin, configured with the account at `endpoint`."""
    with running(make_plugin(), "ec2/vpc:Vpc", AwsClient) as plugin:
        every = [dict.fromkeys(("ec2", "s3", "iam"), endpoint)]
        keys = {"accessKey": "key", "secretKey": Secret("secret")}
        plugin.configure(region=REGION, endpoints=every, **keys, **settings)
        yield plugin


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Address of a moto server of this module's tests."""
    with moto() as address:
        yield address


@pytest.fixture(scope="module")
def plugin(endpoint: str) -> Iterator[AwsClient]:
    """The plugin, with that server."""
    with aws(endpoint) as found:
        yield found
