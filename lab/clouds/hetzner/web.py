"""The API towards its clients: paths, pages, the token, refusals."""

import http.server
import json
import re
import secrets
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from . import catalog, firewalls, labels, networks, servers, simple, volumes
from .core import Cloud, Request, Row, shown
from .errors import ApiError, invalid, missing

PREFIX = "/v1"
_RATE = 3600
_LONGEST_BODY = 1 << 20
Handler = Callable[[Cloud, Request], Row | None]
View = Callable[[Cloud, Row], Row]

_VIEWS: dict[str, View] = {
    "networks": networks.view,
    "ssh_keys": lambda _, row: shown(row),
    "servers": servers.view,
    "placement_groups": simple.group_view,
    "firewalls": firewalls.view,
    "volumes": lambda _, row: shown(row),
    "primary_ips": lambda _, row: shown(row),
}
_OFFERS = {"locations": catalog.LOCATIONS, "server_types": catalog.SERVER_TYPES, "images": catalog.IMAGES}
_FILTERS = {"name", "status", "type", "fingerprint", "architecture", "id", "ip"}
_SORTED_BY = {"id", "name", "created", "command", "status", "started", "finished", "progress"}


def _delete_network(cloud: Cloud, request: Request) -> None:
    row = cloud.row("networks", request.path[0])
    if row["protection"]["delete"]:
        raise ApiError("protected", "network deletion is protected")
    attached = [one for one in cloud.rows("servers") if any(net["network"] == row["id"] for net in one["private_net"])]
    for server in attached:
        cloud.unlocked(server)
    for server in attached:
        servers.detach(cloud, server, row)
    networks.delete(cloud, request)


_CHANGES: dict[tuple[str, str], Handler] = {
    ("POST", "networks"): networks.create,
    ("PUT", "networks/N"): networks.update,
    ("DELETE", "networks/N"): _delete_network,
    ("POST", "networks/N/actions/add_subnet"): networks.add_subnet,
    ("POST", "networks/N/actions/delete_subnet"): networks.delete_subnet,
    ("POST", "networks/N/actions/add_route"): networks.add_route,
    ("POST", "networks/N/actions/delete_route"): networks.delete_route,
    ("POST", "networks/N/actions/change_ip_range"): networks.change_ip_range,
    ("POST", "networks/N/actions/change_protection"): networks.change_protection,
    ("POST", "ssh_keys"): simple.create_ssh_key,
    ("PUT", "ssh_keys/N"): simple.update_ssh_key,
    ("DELETE", "ssh_keys/N"): simple.delete_ssh_key,
    ("POST", "placement_groups"): simple.create_group,
    ("PUT", "placement_groups/N"): simple.update_group,
    ("DELETE", "placement_groups/N"): simple.delete_group,
    ("POST", "firewalls"): firewalls.create,
    ("PUT", "firewalls/N"): firewalls.update,
    ("DELETE", "firewalls/N"): firewalls.delete,
    ("POST", "firewalls/N/actions/set_rules"): firewalls.set_rules,
    ("POST", "firewalls/N/actions/apply_to_resources"): firewalls.apply,
    ("POST", "firewalls/N/actions/remove_from_resources"): firewalls.remove,
    ("POST", "volumes"): volumes.create,
    ("PUT", "volumes/N"): volumes.update,
    ("DELETE", "volumes/N"): volumes.delete,
    ("POST", "volumes/N/actions/attach"): volumes.attach,
    ("POST", "volumes/N/actions/detach"): volumes.detach,
    ("POST", "volumes/N/actions/resize"): volumes.resize,
    ("POST", "volumes/N/actions/change_protection"): volumes.change_protection,
    ("POST", "servers"): servers.create,
    ("PUT", "servers/N"): servers.update,
    ("DELETE", "servers/N"): servers.delete,
    ("POST", "servers/N/actions/poweron"): servers.power_on,
    ("POST", "servers/N/actions/poweroff"): servers.power_off,
    ("POST", "servers/N/actions/shutdown"): servers.shutdown,
    ("POST", "servers/N/actions/reboot"): servers.reboot,
    ("POST", "servers/N/actions/reset"): servers.reset,
    ("POST", "servers/N/actions/rebuild"): servers.rebuild,
    ("POST", "servers/N/actions/change_type"): servers.change_type,
    ("POST", "servers/N/actions/change_protection"): servers.change_protection,
    ("POST", "servers/N/actions/attach_to_network"): servers.attach_to_network,
    ("POST", "servers/N/actions/detach_from_network"): servers.detach_from_network,
    ("POST", "servers/N/actions/change_alias_ips"): servers.change_alias_ips,
    ("POST", "servers/N/actions/add_to_placement_group"): servers.add_to_group,
    ("POST", "servers/N/actions/remove_from_placement_group"): servers.remove_from_group,
}
_KNOWN_PATHS = {path for _, path in _CHANGES}


def answer(cloud: Cloud, method: str, path: str, request: Request) -> tuple[int, Row | None]:
    """Do what a request asks for.

    Args:
        path: Without the prefix, numbers replaced by N.

    Raises:
        ApiError: it is refused.
    """
    with cloud.lock:
        if method == "GET":
            return 200, _read(cloud, path, request)
        handler = _CHANGES.get((method, path))
        if handler is None:
            raise _no_such(path)
        result = handler(cloud, request)
        cloud.save()
        if result is None:
            return 204, None
        return (201 if method == "POST" else 200), result


def _no_such(path: str) -> ApiError:
    kind = path.split("/", maxsplit=1)[0]
    if kind == "datacenters":
        return ApiError(
            "deprecated_api_endpoint",
            "API functionality was removed",
            {"announcement": "https://docs.hetzner.cloud/changelog#2026-06-02-datacenters-deprecated"},
        )
    if path in _KNOWN_PATHS or (kind in {**_VIEWS, **_OFFERS} and "/" not in path.removesuffix("/N")):
        return ApiError("method_not_allowed", "the request method is not allowed")
    return ApiError("not_found", f"the emulator has no endpoint {path}")


def _read(cloud: Cloud, path: str, request: Request) -> Row:
    parts = path.split("/")
    kind = parts[0]
    match parts:
        case [_] | [_, "N"] if kind in _OFFERS:
            return _offer(kind, request)
        case ["actions"] | ["actions", "N"]:
            return _any_actions(cloud, request)
        case [_, "actions"] | [_, "N", "actions"] | [_, "actions", "N"] | [_, "N", "actions", "N"] if kind in _VIEWS:
            return _actions_of(cloud, kind, parts, request)
        case ["networks", "N", "members"]:
            return _page("members", networks.members(cloud, request), request)
        case [_] | [_, "N"] if kind in _VIEWS:
            if request.path:
                return {kind.removesuffix("s"): _VIEWS[kind](cloud, cloud.row(kind, request.path[0]))}
            rows = [_VIEWS[kind](cloud, row) for row in cloud.rows(kind)]
            return _page(kind, _chosen(rows, request), request)
    raise _no_such(path)


def _any_actions(cloud: Cloud, request: Request) -> Row:
    if request.path:
        return {"action": cloud.row("actions", request.path[0])}
    if "id" not in request.query:
        changed = "https://docs.hetzner.cloud/changelog#2023-07-20-actions-list-endpoint-is-deprecated"
        raise ApiError("deprecated_api_endpoint", "API functionality was removed", {"announcement": changed})
    return _page("actions", _chosen(cloud.rows("actions"), request), request)


def _offer(kind: str, request: Request) -> Row:
    rows = _OFFERS[kind]
    if not request.path:
        return _page(kind, _chosen(rows, request), request)
    found = [row for row in rows if row["id"] == request.path[0]]
    if not found:
        raise missing(kind.removesuffix("s").replace("_", " "), request.path[0])
    return {kind.removesuffix("s"): found[0]}


def _actions_of(cloud: Cloud, kind: str, parts: list[str], request: Request) -> Row:
    about = {"type": kind.removesuffix("s")}
    if parts[1] == "N":
        about["id"] = cloud.row(kind, request.path[0])["id"]
    rows = [
        row for row in cloud.rows("actions") if any(about.items() <= resource.items() for resource in row["resources"])
    ]
    if parts[-1] == "N":
        found = [row for row in rows if row["id"] == request.path[-1]]
        if not found:
            raise missing("action", request.path[-1])
        return {"action": found[0]}
    return _page("actions", _chosen(rows, request), request)


def _chosen(rows: Iterable[Row], request: Request) -> list[Row]:
    """The rows that a list with the query of a request has."""
    selectors = [labels.selector(text) for text in request.query.get("label_selector", []) if text]
    filters = {key: values for key, values in request.query.items() if key in _FILTERS}
    return [
        row
        for row in rows
        if all(key not in row or str(row[key]) in values for key, values in filters.items())
        and all(matches(row.get("labels", {})) for matches in selectors)
    ]


def _page(kind: str, rows: list[Row], request: Request) -> Row:
    for order in reversed(request.query.get("sort", [])):
        key, _, direction = order.partition(":")
        if key not in _SORTED_BY or direction not in ("", "asc", "desc"):
            raise invalid("sort", f"'{order}' is unknown")
        rows = sorted(rows, key=lambda row: (row.get(key) is None, row.get(key)), reverse=direction == "desc")
    page, per_page = _number(request, "page", 1, 1 << 31), _number(request, "per_page", 25, 50)
    last = max(1, -(-len(rows) // per_page))
    pagination = {
        "page": page,
        "per_page": per_page,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": len(rows),
    }
    return {kind: rows[(page - 1) * per_page : page * per_page], "meta": {"pagination": pagination}}


def _number(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query.get(name, [str(default)])[-1]
    if not text.isdigit() or int(text) < 1:
        raise invalid(name, f"'{text}' is no positive number")
    return min(int(text), largest)


class Server(http.server.ThreadingHTTPServer):
    """The API on an address of loopback."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, cloud: Cloud, token: str, port: int) -> None:
        self.cloud = cloud
        self.token = token
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one piece: two of them would wait for each other
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - names that http.server asks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
        print(time.strftime("%H:%M:%S"), format % args, flush=True)

    def _serve(self) -> None:
        try:
            status, body = self._answer()
        except ApiError as refused:
            status, body = refused.status, refused.body
        except Exception:  # whatever it is, the client is told, and the log says where
            traceback.print_exc()
            status, body = 500, ApiError("server_error", "the emulator failed, see its log").body
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Correlation-Id", secrets.token_hex(8))
        # The limit is told, but not enforced.
        self.send_header("RateLimit-Limit", str(_RATE))
        self.send_header("RateLimit-Remaining", str(_RATE - 1))
        self.send_header("RateLimit-Reset", str(int(time.time()) + 1))
        if pagination := ((body or {}).get("meta") or {}).get("pagination"):
            self._link(pagination)
        self.end_headers()
        self.wfile.write(content)

    def _link(self, pagination: Row) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = {**urllib.parse.parse_qs(url.query), "per_page": [str(pagination["per_page"])]}
        links = []
        for relation, key in (("prev", "previous_page"), ("next", "next_page"), ("last", "last_page")):
            if pagination[key] is not None:
                text = urllib.parse.urlencode({**query, "page": [str(pagination[key])]}, doseq=True)
                links.append(f'<http://{self.headers.get("Host", "")}{url.path}?{text}>; rel="{relation}"')
        self.send_header("Link", ", ".join(links))

    def _answer(self) -> tuple[int, Row | None]:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LONGEST_BODY:
            raise ApiError("invalid_input", "the request is too long")
        content = self.rfile.read(length)  # always, since the connection stays open
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(token.strip().encode(), self.server.token.encode()):
            raise ApiError("unauthorized", "unable to authenticate")
        url = urllib.parse.urlsplit(self.path)
        if not url.path.startswith(f"{PREFIX}/"):
            raise ApiError("not_found", f"the API is below {PREFIX}")
        path = url.path.removeprefix(f"{PREFIX}/").rstrip("/")
        numbers = tuple(int(number) for number in re.findall(r"(?<=/)\d+(?=/|$)", path))
        request = Request(numbers, urllib.parse.parse_qs(url.query), _body(content))
        return answer(self.server.cloud, self.command, re.sub(r"(?<=/)\d+(?=/|$)", "N", path), request)


def _body(content: bytes) -> dict[str, Any]:
    if not content:
        return {}
    try:
        body = json.loads(content)
    except ValueError as error:
        raise ApiError("json_error", f"invalid JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError("json_error", "the request must be a JSON object")
    return body
