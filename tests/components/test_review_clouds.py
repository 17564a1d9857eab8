"""`external-etcd review` of changes in a cloud, from previews by the real engine of an emulated account."""

from typing import Any

import pytest

from lab.engine import environment
from tests.support.cloud_stacks import FILES, example, settings
from tests.support.hetzner_account import TOKEN, HetznerAccount, served
from tests.support.reviews import Reviews
from tests.support.stacks import Stack

__all__ = ["served"]


@pytest.fixture(scope="module")
def reviews(served: HetznerAccount, tmp_path_factory: pytest.TempPathFactory) -> Reviews:
    config = example("hetzner") | {
        "hcloud:endpoint": served.endpoint,
        "hcloud:token": TOKEN,
        "hcloud:pollInterval": "5ms",
    }
    directory = tmp_path_factory.mktemp("clouds")
    stack = Stack(directory / "test", environment(directory / "engine"), config, FILES, "external-etcd")
    settings(stack)["volume"] = {"size": 10, "protect": False}
    found = Reviews(stack)
    found.up()
    return found


def changed(reviews: Reviews, **changes: Any) -> dict[str, Any]:
    return {"external-etcd:hetzner": settings(reviews.stack) | changes}


def slots(*generations: int) -> list[dict[str, Any]]:
    return [{"name": f"etcd-{n}", "generation": generation} for n, generation in enumerate(generations, 1)]


CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a raised generation": ({"slots": slots(1, 2, 1)}, {"restart", "irreversible", "replace"}),
    "two raised generations": ({"slots": slots(2, 2, 1)}, {"refused"}),
    "a slot that leaves a cloud": ({"slots": slots(1)}, {"irreversible", "replace"}),
    "another network": ({"networkId": 4711}, {"refused"}),
    "another operator": ({"operators": ["203.0.113.8/32"]}, set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_comment_on_a_change_in_a_cloud_is_the_reviewed_one(
    change: str, reviews: Reviews, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, conditions = CHANGES[change]
    reviews.assert_as_reviewed(change, reviews.preview(**changed(reviews, **changes)), conditions, capsys)
