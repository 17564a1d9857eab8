"""The API's HTTP side: paths, pages, the token, refusals."""

import secrets
import traceback
from collections.abc import Callable, Iterable
from types import ModuleType
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
# Collection -> the handlers of POST, PUT and DELETE.
_CHANGES: dict[str, tuple[Handler, Handler, Handler]] = {
    "networks": (networks.create, networks.update, servers.delete_network),
    "ssh_keys": (simple.create_ssh_key, simple.update_ssh_key, simple.delete_ssh_key),
    "placement_groups": (simple.create_group, simple.update_group, simple.delete_group),
    "firewalls": (firewalls.create, firewalls.update, firewalls.delete),
    "volumes": (volumes.create, volumes.update, volumes.delete),
    "servers": (servers.create, servers.update, servers.delete),
}
# Collection -> the module of its actions, and their names in the API: those of their handlers.
_ACTIONS: dict[str, tuple[ModuleType, str]] = {
    "networks": (networks, "add_subnet delete_subnet add_route delete_route"),
    "firewalls": (firewalls, "set_rules apply_to_resources remove_from_resources"),
    "volumes": (volumes, "attach detach resize"),
    "servers": (servers, "poweron poweroff shutdown reboot attach_to_network detach_from_network"),
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
    for kind, (create, update, delete) in _CHANGES.items():
        serve("POST", kind, create)
        serve("PUT", f"{kind}/{_ID}", update)
        serve("DELETE", f"{kind}/{_ID}", delete)
    for kind, (module, actions) in _ACTIONS.items():
        for action in actions.split():
            serve("POST", f"{kind}/{_ID}/actions/{action}", getattr(module, action))
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
