"""The API's HTTP side: paths, pages, the token, refusals."""

import secrets
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from . import catalog, firewalls, networks, servers, simple, volumes
from .core import Cloud, Request, Row, shown
from .errors import ApiError, invalid, missing

PREFIX = "/v1"
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
_ID = "<int:number>"
_CHANGES: dict[tuple[str, str], Handler] = {
    ("POST", "networks"): networks.create,
    ("PUT", f"networks/{_ID}"): networks.update,
    ("DELETE", f"networks/{_ID}"): servers.delete_network,
    ("POST", f"networks/{_ID}/actions/add_subnet"): networks.add_subnet,
    ("POST", f"networks/{_ID}/actions/delete_subnet"): networks.delete_subnet,
    ("POST", f"networks/{_ID}/actions/add_route"): networks.add_route,
    ("POST", f"networks/{_ID}/actions/delete_route"): networks.delete_route,
    ("POST", "ssh_keys"): simple.create_ssh_key,
    ("PUT", f"ssh_keys/{_ID}"): simple.update_ssh_key,
    ("DELETE", f"ssh_keys/{_ID}"): simple.delete_ssh_key,
    ("POST", "placement_groups"): simple.create_group,
    ("PUT", f"placement_groups/{_ID}"): simple.update_group,
    ("DELETE", f"placement_groups/{_ID}"): simple.delete_group,
    ("POST", "firewalls"): firewalls.create,
    ("PUT", f"firewalls/{_ID}"): firewalls.update,
    ("DELETE", f"firewalls/{_ID}"): firewalls.delete,
    ("POST", f"firewalls/{_ID}/actions/set_rules"): firewalls.set_rules,
    ("POST", f"firewalls/{_ID}/actions/apply_to_resources"): firewalls.apply,
    ("POST", f"firewalls/{_ID}/actions/remove_from_resources"): firewalls.remove,
    ("POST", "volumes"): volumes.create,
    ("PUT", f"volumes/{_ID}"): volumes.update,
    ("DELETE", f"volumes/{_ID}"): volumes.delete,
    ("POST", f"volumes/{_ID}/actions/attach"): volumes.attach,
    ("POST", f"volumes/{_ID}/actions/detach"): volumes.detach,
    ("POST", f"volumes/{_ID}/actions/resize"): volumes.resize,
    ("POST", "servers"): servers.create,
    ("PUT", f"servers/{_ID}"): servers.update,
    ("DELETE", f"servers/{_ID}"): servers.delete,
    ("POST", f"servers/{_ID}/actions/poweron"): servers.power_on,
    ("POST", f"servers/{_ID}/actions/poweroff"): servers.power_off,
    ("POST", f"servers/{_ID}/actions/shutdown"): servers.shutdown,
    ("POST", f"servers/{_ID}/actions/reboot"): servers.reboot,
    ("POST", f"servers/{_ID}/actions/attach_to_network"): servers.attach_to_network,
    ("POST", f"servers/{_ID}/actions/detach_from_network"): servers.detach_from_network,
}


def api(cloud: Cloud, token: str) -> flask.Flask:
    """The API of an account as a WSGI application, for clients with the token."""
    app = flask.Flask(__name__)

    @app.before_request
    def authorize() -> None:
        scheme, _, given = flask.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), token.encode()):
            raise ApiError("unauthorized", "unable to authenticate")

    @app.errorhandler(Exception)
    def refuse(error: Exception) -> tuple[Row, int]:
        if isinstance(error, HTTPException):
            wrong_method = error.code == 405
            code = "method_not_allowed" if wrong_method else "not_found"
            error = ApiError(code, f"{flask.request.method} {flask.request.path} is not emulated")
        if not isinstance(error, ApiError):  # the client gets an error, and the log the traceback
            traceback.print_exception(error)
            error = ApiError("server_error", "the emulator failed, see its log")
        return error.body, error.status

    def serve(method: str, path: str, handler: Handler) -> None:
        def answer(number: int = 0) -> tuple[Row | str, int]:
            request = Request(number, flask.request.args.to_dict(flat=False), _body())
            with cloud.lock:
                result = handler(cloud, request)
            return ("", 204) if result is None else (result, 201 if method == "POST" else 200)

        app.add_url_rule(f"{PREFIX}/{path}", f"{method} {path}", answer, methods=[method])

    for kind in (*_VIEWS, *_OFFERS, "actions"):
        serve("GET", kind, _listing(kind))
        serve("GET", f"{kind}/{_ID}", _one(kind))
    for (method, path), handler in _CHANGES.items():
        serve(method, path, handler)
    return app


def _body() -> dict[str, Any]:
    if not flask.request.get_data():
        return {}
    body = flask.request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise ApiError("json_error", "the request must be a JSON object")
    return body


def _rows(cloud: Cloud, kind: str) -> list[Row]:
    view = _VIEWS.get(kind)
    return _OFFERS[kind] if kind in _OFFERS else [view(cloud, row) if view else row for row in cloud.rows(kind)]


def _one(kind: str) -> Handler:
    def read(cloud: Cloud, request: Request) -> Row:
        for row in _rows(cloud, kind):
            if row["id"] == request.number:
                return {kind.removesuffix("s"): row}
        raise missing(kind.removesuffix("s").replace("_", " "), request.number)

    return read


def _listing(kind: str) -> Handler:
    def read(cloud: Cloud, request: Request) -> Row:
        if kind == "actions" and "id" not in request.query:
            changed = "https://docs.hetzner.cloud/changelog#2023-07-20-actions-list-endpoint-is-deprecated"
            raise ApiError("deprecated_api_endpoint", "API functionality was removed", {"announcement": changed})
        if "label_selector" in request.query:
            raise invalid("label_selector", "is not emulated")
        return _page(kind, _chosen(_rows(cloud, kind), request), request)

    return read


def _chosen(rows: Iterable[Row], request: Request) -> list[Row]:
    """The rows that match the query of a request."""
    filters = {key: values for key, values in request.query.items() if key in _FILTERS}
    return [row for row in rows if all(key not in row or str(row[key]) in values for key, values in filters.items())]


def _page(kind: str, rows: list[Row], request: Request) -> Row:
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
        raise invalid(name, f"'{text}' is not a positive number")
    return min(int(text), largest)
