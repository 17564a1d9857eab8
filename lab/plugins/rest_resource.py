"""A resource behind a REST API: created by POST, read by GET, changed by PUT and actions, deleted by DELETE.

The installed SDK declares the properties; a subclass adds what the SDK does not know: which ones replace the
resource, defaults, the API's names. The API's values are translated into the program's wherever the meaning is the
same, so that only a real difference shows up.
"""

from __future__ import annotations

import contextlib
import ipaddress
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from . import sdk
from .rest import Api, RefusedError
from .schema import Failure, Field
from .server import Call, PartialError, ProviderError, Resource
from .wire import UNKNOWN, Change, Secret, is_known, plain, root

Values = dict[str, Any]
_ADDRESSES = frozenset({"sourceIps", "destinationIps", "ipRange", "destination", "ip"})
_TEXTS = frozenset({"publicKey", "userData"})
_UNSERVED = "this stand-in does not serve this property; install the official plugin"
UNSERVED: Mapping[str, Any] = {"rule": lambda value: _UNSERVED if value else None}


@dataclass
class Account:
    """Holds the API; available once the plugin is configured."""

    _api: Api | None = field(default=None)

    def use(self, api: Api) -> None:
        """Use `api` from now on."""
        self._api = api

    @property
    def api(self) -> Api:
        """The API. Raises ProviderError if the plugin is not configured yet."""
        if self._api is None:
            raise ProviderError("the provider has no settings yet")
        return self._api


class RestResource(Resource):
    """One type of resource.

    Attributes:
        about: what the SDK does not say, by property: arguments of `Field`. `rules.port` is a property of each entry.
        computed: properties that keep their value if the program no longer sets them.
        sent: properties that creation sends as they are.
        served: further properties that this stand-in serves; all others are refused.
        where: names in the API that differ from the property's; dots lead into objects.
        hidden: properties that the API never returns.
        gone_is_removed: whether deleting a resource that no longer exists succeeds, as in the official plugin.
    """

    package: ClassVar[str]
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    computed: ClassVar[frozenset[str]] = frozenset()
    sent: ClassVar[tuple[str, ...]] = ()
    served: ClassVar[tuple[str, ...]] = ()
    where: ClassVar[Mapping[str, str]] = {}
    hidden: ClassVar[frozenset[str]] = frozenset()
    gone_is_removed: ClassVar[bool] = True

    def __init__(self, token: str, account: Account) -> None:
        self.token = token
        self._account = account

    @property
    def api(self) -> Api:
        """The API."""
        return self._account.api

    @cached_property
    def fields(self) -> Mapping[str, Field]:  # type: ignore[override]
        """The properties of the installed SDK, with the additions from `about`."""
        return _refined(sdk.inputs(self.package, self.token), self.about, "")

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of all properties of a state."""
        return tuple(sdk.outputs(self.package, self.token))

    # -- for subclasses ----------------------------------------------------------------------------------------------

    @abstractmethod
    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:
        """Request a new one; returns its id and the answer."""

    @abstractmethod
    def ready(self, call: Call, identity: str, answer: Mapping[str, Any], given: Values) -> None:
        """Wait until what `make` requested exists, and finish."""

    def finish(self, call: Call, identity: str, given: Values) -> None:
        """The remaining steps after creation."""

    @abstractmethod
    def look(self, call: Call, identity: str) -> Values | None:
        """Its current state in the API, or None."""

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:  # noqa: ARG002 (for overriding)
        """The properties that the API returns."""
        names = (name for name in self.outputs if name not in self.hidden)
        found = {name: dig(thing, self.where.get(name, sdk.snake(name))) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    @abstractmethod
    def change(self, call: Call, change: Difference) -> None:
        """Change it from the state to the inputs."""

    @abstractmethod
    def remove(self, call: Call, identity: str, state: Values) -> None:
        """Delete it. RefusedError `not_found` means that it no longer exists."""

    # -- for the engine ----------------------------------------------------------------------------------------------

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """Also refuses properties that this stand-in would ignore silently."""
        known = {name.partition(".")[0] for name in (*self.about, *self.sent, *self.served)}
        known |= {"name", "labels", "tags", "region"}
        wrong = [name for name in inputs if name in self.fields and name not in known and plain(inputs[name])]
        return [*super().check(inputs), *(Failure(name, _UNSERVED) for name in wrong)]

    def diff(self, old: Mapping[str, Any], state: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
        """As for any resource, without differences of the same meaning."""
        changes = super().diff(old, state, new)
        same = {name for name in {root(path) for path in changes} if self._same(name, old, new)}
        return {path: kind for path, kind in changes.items() if root(path) not in same}

    def _same(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        if name not in new and name in self.computed:
            return True
        both = [plain(old.get(name)), plain(new.get(name))]
        if not is_known(both) or isinstance(old.get(name), Secret) is not isinstance(new.get(name), Secret):
            return False
        return bool(meaning(name, both[0]) == meaning(name, both[1]))

    def create(self, call: Call, inputs: Values) -> tuple[str, Values]:
        """Create it, and wait until it is ready."""
        if call.preview:
            return "", {**dict.fromkeys(self.outputs, UNKNOWN), "id": UNKNOWN, **_own(inputs)}
        given = _whole(plain(inputs))
        identity, answer = self.make(call, given)
        try:
            self.ready(call, identity, answer, given)
            return identity, _sealed(self.state(identity, self._there(call, identity), given), inputs)
        except Exception as error:
            # From here on it exists and may cost money, so every error must keep it in the state.
            state: Values = {"id": identity}
            with contextlib.suppress(Exception):
                state = self.state(identity, self._there(call, identity), given)
            raise PartialError(str(error), identity, _sealed(state, inputs)) from error

    def update(self, call: Call, state: Values, inputs: Values) -> Values:
        """Change it in place."""
        if call.preview:
            return {**state, **{name: value for name, value in _own(inputs).items() if name not in self.hidden}}
        identity, new = str(plain(state)["id"]), _whole(plain(inputs))
        thing = self._there(call, identity)
        self.change(call, Difference(self, identity, thing, _whole(plain(state)), new))
        return _sealed(self.state(identity, self._there(call, identity), new), inputs)

    def refresh(self, call: Call, identity: str, state: Values, inputs: Values) -> tuple[Values, Values] | None:
        """Its current state, and the inputs that lead to it."""
        thing = self.look(call, identity)
        if thing is None:
            return None
        found = self.state(identity, thing, _whole(plain(inputs)))
        kept = {name: value for name, value in inputs.items() if name.startswith("__")}
        for name, about in self.fields.items():
            value = found.get(name)
            if name not in inputs:
                if name not in self.computed and meaning(name, value):
                    kept[name] = value
                continue
            wanted = _whole(plain(inputs[name]))
            value = like(wanted, value) if _is_nested(about) else value
            if name in self.hidden or meaning(name, wanted) == meaning(name, value):
                kept[name] = inputs[name]
            elif value is not None:
                kept[name] = Secret(value) if isinstance(inputs[name], Secret) else value
        return _sealed(found, {**state, **inputs}), kept

    def delete(self, call: Call, state: Values) -> None:
        """Delete it; a missing one is no error where the official plugin accepts it."""
        values = _whole(plain(state))
        try:
            self.remove(call, str(values["id"]), values)
        except RefusedError as error:
            if error.code != "not_found" or not self.gone_is_removed:
                raise

    def state(self, identity: str, thing: Mapping[str, Any], given: Values) -> Values:
        """Its whole state: what the API returns, or what was given if that means the same or is not returned."""
        state = {name: given[name] for name in self.outputs if given.get(name) is not None}
        for name, value in self.seen(thing, given).items():
            if name not in state or meaning(name, state[name]) != meaning(name, value):
                state[name] = value
        return {**state, "id": identity}

    def _there(self, call: Call, identity: str) -> Values:
        thing = self.look(call, identity)
        if thing is None:
            raise ProviderError(f"{self.token} {identity} no longer exists: run `pulumi refresh`, then try again")
        return thing


@dataclass(frozen=True)
class Difference:
    """An update from the current to the desired state.

    Attributes:
        kind: the type of the resource.
        identity: its id.
        thing: its state in the API.
        old: the state.
        new: the inputs.
    """

    kind: RestResource
    identity: str
    thing: Mapping[str, Any]
    old: Values
    new: Values

    def at(self, name: str) -> bool:
        """Whether the property differs."""
        if name not in self.kind.fields or (name not in self.new and name in self.kind.computed):
            return False
        wanted, old = self.new.get(name), self.old.get(name)
        old = like(wanted, old) if _is_nested(self.kind.fields[name]) else old
        return bool(meaning(name, old) != meaning(name, wanted))


def meaning(name: str, value: Any) -> Any:
    """`value` in a normal form, which is equal for values that mean the same to the API; zero and empty become None.

    The order of lists is ignored, except in `sshKeys`.
    """
    if name in ("labels", "tags"):
        return value or None
    if isinstance(value, Mapping):
        inner = {key: meaning(key, item) for key, item in value.items()}
        return {key: item for key, item in sorted(inner.items()) if item is not None} or None
    if isinstance(value, list):
        entries = [meaning(name, item) for item in value]
        return (entries if name == "sshKeys" else sorted(entries, key=repr)) or None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        value = _network(value) if name in _ADDRESSES else value.strip() if name in _TEXTS else value
    return value or None


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return text


def like(wanted: Any, value: Any) -> Any:
    """`value`, an object or a list of objects, with only the properties that `wanted` has at the same place."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return {key: value[key] for key in wanted if key in value}
    if not isinstance(wanted, list) or not isinstance(value, list) or len(wanted) != len(value):
        return value
    return [
        {key: b[key] for key in a if key in b} if isinstance(a, dict) and isinstance(b, dict) else b
        for a, b in zip(wanted, value, strict=True)
    ]


def _is_nested(about: Field) -> bool:
    """Whether a property is an object with its own properties, or a list of such objects."""
    return about.fields is not None or (about.item is not None and about.item.fields is not None)


def _refined(fields: Mapping[str, Field], about: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, Field]:
    refined = {}
    for name, known in fields.items():
        more = dict(about.get(prefix + name, {}))
        if known.fields is not None:
            more["fields"] = _refined(known.fields, about, f"{prefix}{name}.")
        if known.item is not None:
            inner = known.item.fields
            entries = None if inner is None else _refined(inner, about, f"{prefix}{name}.")
            more["item"] = replace(known.item, fields=entries, **about.get(f"{prefix}{name}[]", {}))
        refined[name] = replace(known, **more)
    return refined


def dig(thing: Mapping[str, Any], path: str) -> Any:
    value: Any = thing
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _whole(value: Any) -> Any:
    """`value` with integers for the API: the wire has none."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _own(inputs: Mapping[str, Any]) -> Values:
    return {name: value for name, value in inputs.items() if not name.startswith("__")}


def _sealed(state: Values, inputs: Mapping[str, Any]) -> Values:
    """`state` with everything marked as secret that is or contains a secret in `inputs`."""
    return {name: Secret(value) if _has_secret(inputs.get(name)) else value for name, value in state.items()}


def _has_secret(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        return any(_has_secret(item) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, Secret)
