"""A Hetzner Cloud of dictionaries: enough of its API to be asked by the stand-in plugin, and to see what it asked.

Nothing boots here, and little is refused: the emulator of the lab does both.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Row = dict[str, Any]

TOKEN = "t" * 64
KINDS = ("networks", "ssh_keys", "placement_groups", "firewalls", "servers", "volumes", "primary_ips")
TYPES = {"cx23": ("x86", 40), "cx33": ("x86", 80), "cax11": ("arm", 40)}
IMAGES: set[tuple[int, str, str]] = {(101, "debian-12", "x86"), (102, "debian-12", "arm"), (103, "ubuntu-24.04", "x86")}


class RefusalError(Exception):
    def __init__(self, status: int, code: str, message: str = "no") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class FakeHcloud:
    """The cloud and its server. `requests` are those that change something: method, path, body."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, Row]] = {kind: {} for kind in KINDS}
        self.actions: dict[int, Row] = {}
        self.requests: list[tuple[str, str, Row]] = []
        self.refusals: list[tuple[str, RefusalError]] = []
        self.failing_actions: list[str] = []
        self.numbers = itertools.count(1001)
        self.lock = threading.Lock()
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                status, answer = 200, {}
                try:
                    answer = cloud.handle(self)
                except RefusalError as refusal:
                    status, answer = refusal.status, {"error": {"code": refusal.code, "message": str(refusal)}}
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def left(self) -> dict[str, list[str]]:
        """What there is, by kind: names."""
        return {kind: [row["name"] for row in rows.values()] for kind, rows in self.rows.items() if rows}

    def one(self, kind: str) -> Row:
        (row,) = self.rows[kind].values()
        return row

    def asked(self, path: str) -> list[Row]:
        """The bodies of all requests to a path (a pattern)."""
        return [body for _, asked, body in self.requests if re.fullmatch(path, asked)]

    def refuse(self, path: str, code: str, status: int = 422, times: int = 1) -> None:
        """Refuse the next requests to a path (a pattern with its method: `POST servers`)."""
        self.refusals += [(path, RefusalError(status, code))] * times

    # -- the API -----------------------------------------------------------------------------------------------------

    def handle(self, http: BaseHTTPRequestHandler) -> Row:
        parts = urlsplit(http.path)
        path, query = parts.path.removeprefix("/v1/"), {key: one[0] for key, one in parse_qs(parts.query).items()}
        body = json.loads(http.rfile.read(int(http.headers.get("Content-Length") or 0)) or b"{}")
        if http.headers["Authorization"] != f"Bearer {TOKEN}":
            raise RefusalError(401, "unauthorized", "unable to authenticate")
        with self.lock:
            if http.command != "GET":
                self.requests.append((http.command, path, body))
            for entry in self.refusals:
                if re.fullmatch(entry[0], f"{http.command} {path}"):
                    self.refusals.remove(entry)
                    raise entry[1]
            return self.route(http.command, path.split("/"), query, body)

    def route(self, method: str, path: list[str], query: dict[str, str], body: Row) -> Row:
        kind = path[0]
        if kind in ("actions", "server_types", "images"):
            return self.listed(kind, path, query)
        if len(path) == 1:
            return self.create(kind, body) if method == "POST" else self.listed(kind, path, query)
        row = self.there(self.rows[kind], path[1])
        if len(path) == 4:
            action: Callable[[Row, Row], None] = getattr(self, path[3])
            action(row, body)
            started = self.action(path[3])
            return {"actions": [started]} if kind == "firewalls" else {"action": started}
        if method == "PUT":
            row |= body
        return self.delete(kind, row) if method == "DELETE" else {kind[:-1]: self.shown(kind, row)}

    def listed(self, kind: str, path: list[str], query: dict[str, str]) -> Row:
        rows: list[dict[str, Any]]
        if kind == "actions":
            rows = [self.polled(self.actions[int(query["id"])])]
        elif kind == "server_types":
            rows = [{"name": name, "architecture": t[0]} for name, t in TYPES.items() if name == query["name"]]
        elif kind == "images":
            rows = [{"id": i[0], "name": i[1], "architecture": i[2]} for i in sorted(IMAGES)]
            if len(path) == 2:
                return {"image": self.there({row["id"]: row for row in rows}, path[1])}
            rows = [row for row in rows if all(row.get(key, one) == one for key, one in query.items())]
        else:
            named = [self.shown(kind, row) for row in self.rows[kind].values()]
            rows = [row for row in named if row["name"] == query.get("name", row["name"])]
        return {kind: rows}

    def there(self, rows: dict[int, Row], number: str) -> Row:
        if int(number) not in rows:
            raise RefusalError(404, "not_found", f"{number} not found")
        return rows[int(number)]

    def action(self, command: str) -> Row:
        row: Row = {"id": next(self.numbers), "command": command, "status": "running", "error": None, "polls": 1}
        self.actions[row["id"]] = row
        return dict(row)

    def polled(self, row: Row) -> Row:
        row["polls"] -= 1
        if row["polls"] < 0:
            failed = row["command"] in self.failing_actions
            row["status"] = "error" if failed else "success"
            row["error"] = {"code": "action_failed", "message": "Action failed"} if failed else None
        return row

    def create(self, kind: str, body: Row) -> Row:
        if any(row["name"] == body["name"] for row in self.rows[kind].values()):
            raise RefusalError(409, "uniqueness_error", f"name {body['name']} is already used")
        number = next(self.numbers)
        row = {"labels": {}, **body, "id": number, "protection": {"delete": False, "rebuild": False}}
        getattr(self, f"new_{kind}", lambda _: None)(row)
        self.rows[kind][number] = row
        answer: Row = {kind[:-1]: self.shown(kind, row)}
        if kind == "firewalls":
            answer["actions"] = [self.action("apply_firewall")]
        elif kind in ("servers", "volumes"):
            answer |= {"action": self.action(f"create_{kind[:-1]}"), "next_actions": [self.action("start")]}
        return answer

    def delete(self, kind: str, row: Row) -> Row:
        if row["protection"]["delete"]:
            raise RefusalError(423, "protected", f"{kind[:-1]} deletion is protected")
        if kind == "networks" and any(n["network"] == row["id"] for s in self.servers() for n in s["private_net"]):
            raise RefusalError(409, "resource_in_use")
        if kind == "firewalls" and row["applied_to"]:
            raise RefusalError(409, "resource_in_use")
        if kind == "servers":
            for volume in self.rows["volumes"].values():
                volume["server"] = None if volume["server"] == row["id"] else volume["server"]
            for firewall in self.rows["firewalls"].values():
                gone = {"type": "server", "server": {"id": row["id"]}}
                firewall["applied_to"] = [entry for entry in firewall["applied_to"] if entry != gone]
        del self.rows[kind][row["id"]]
        return {"action": self.action("delete_server")} if kind == "servers" else {}

    def servers(self) -> list[Row]:
        return list(self.rows["servers"].values())

    def shown(self, kind: str, row: Row) -> Row:
        if kind == "placement_groups":
            members = [s["id"] for s in self.servers() if (s["placement_group"] or {}).get("id") == row["id"]]
            return {**row, "servers": members}
        if kind == "servers":
            here = {"type": "server", "server": {"id": row["id"]}}
            walls = [f["id"] for f in self.rows["firewalls"].values() if here in f["applied_to"]]
            firewalls = [{"id": wall, "status": "applied"} for wall in walls]
            public = {**row["public_net"], "firewalls": firewalls}
            never = ("user_data", "ssh_keys", "start_after_create")
            return {key: value for key, value in {**row, "public_net": public}.items() if key not in never}
        return row

    def new_networks(self, row: Row) -> None:
        row |= {"subnets": [], "routes": [], "expose_routes_to_vswitch": row.get("expose_routes_to_vswitch", False)}

    def new_ssh_keys(self, row: Row) -> None:
        row |= {"public_key": row["public_key"].strip(), "fingerprint": "aa:bb"}

    def new_firewalls(self, row: Row) -> None:
        row["applied_to"] = row.pop("apply_to", [])
        row["rules"] = [{"port": None, "description": None, **rule} for rule in row["rules"]]

    def new_volumes(self, row: Row) -> None:
        server = row.setdefault("server", None)
        location = {"name": row["location"]} if server is None else self.rows["servers"][server]["location"]
        row |= {"location": location, "linux_device": f"/dev/disk/by-id/scsi-0HC_Volume_{row['id']}"}

    def new_primary_ips(self, row: Row) -> None:
        row |= {"ip": f"198.51.100.{row['id'] % 250}" if row["type"] == "ipv4" else "2001:db8:1::/64"}
        row.setdefault("assignee_id", None)
        row.setdefault("auto_delete", False)
        location = self.rows["servers"][row["assignee_id"]]["location"] if row["assignee_id"] else row.get("location")
        row["location"] = location if isinstance(location, dict) else {"name": location}
        if row["assignee_id"]:
            self.assign(row, row)

    def new_servers(self, row: Row) -> None:
        number, public = row["id"], row.get("public_net") or {}
        addresses = {"ipv4": f"203.0.113.{number % 250}", "ipv6": f"2001:db8:{number:x}::/64"}
        row["public_net"] = {
            family: {"id": number, "ip": address} if public.get(f"enable_{family}", True) else None
            for family, address in addresses.items()
        }
        image = next(entry for entry in sorted(IMAGES) if entry[0] == row["image"])
        group = row.get("placement_group")
        for entry in row.pop("firewalls", []):
            here = {"type": "server", "server": {"id": number}}
            self.rows["firewalls"][entry["firewall"]]["applied_to"].append(here)
        row |= {
            "image": {"id": image[0], "name": image[1]},
            "server_type": {"name": row["server_type"]},
            "primary_disk_size": TYPES[row["server_type"]][1],
            "location": {"name": row.get("location", "fsn1")},
            "placement_group": {"id": group} if group else None,
            "status": "running" if row.get("start_after_create", True) else "off",
            "private_net": [],
            "backup_window": None,
        }

    # -- actions -----------------------------------------------------------------------------------------------------

    def add_subnet(self, row: Row, body: Row) -> None:
        gateway = str(ipaddress.ip_network(body["ip_range"])[1])
        row["subnets"].append({**body, "gateway": gateway, "vswitch_id": None})

    def delete_subnet(self, row: Row, body: Row) -> None:
        row["subnets"] = [subnet for subnet in row["subnets"] if subnet["ip_range"] != body["ip_range"]]

    def add_route(self, row: Row, body: Row) -> None:
        row["routes"].append(body)

    def delete_route(self, row: Row, body: Row) -> None:
        row["routes"].remove(body)

    def change_protection(self, row: Row, body: Row) -> None:
        row["protection"] |= body

    def attach_to_network(self, row: Row, body: Row) -> None:
        if any(entry["network"] == body["network"] for entry in row["private_net"]):
            raise RefusalError(422, "server_already_attached")
        subnet = self.rows["networks"][body["network"]]["subnets"][0]
        free = ipaddress.ip_network(body.get("ip_range", subnet["ip_range"]))[len(self.servers()) + 1]
        addresses = {"ip": body.get("ip", str(free)), "alias_ips": body.get("alias_ips", [])}
        row["private_net"].append({"network": body["network"], "mac_address": "86:00:00:00:00:01", **addresses})

    def detach_from_network(self, row: Row, body: Row) -> None:
        row["private_net"] = [entry for entry in row["private_net"] if entry["network"] != body["network"]]

    def change_alias_ips(self, row: Row, body: Row) -> None:
        for entry in row["private_net"]:
            if entry["network"] == body["network"]:
                entry["alias_ips"] = body["alias_ips"]

    def poweron(self, row: Row, _: Row) -> None:
        row["status"] = "running"

    def poweroff(self, row: Row, _: Row) -> None:
        row["status"] = "off"

    shutdown = poweroff

    def change_type(self, row: Row, body: Row) -> None:
        if row["status"] != "off":
            raise RefusalError(422, "server_not_stopped")
        row["server_type"] = {"name": body["server_type"]}

    def add_to_placement_group(self, row: Row, body: Row) -> None:
        row["placement_group"] = {"id": body["placement_group"]}

    def remove_from_placement_group(self, row: Row, _: Row) -> None:
        row["placement_group"] = None

    def set_rules(self, row: Row, body: Row) -> None:
        row["rules"] = body["rules"]

    def apply_to_resources(self, row: Row, body: Row) -> None:
        row["applied_to"] = [*row["applied_to"], *body["apply_to"]]

    def remove_from_resources(self, row: Row, body: Row) -> None:
        row["applied_to"] = [entry for entry in row["applied_to"] if entry not in body["remove_from"]]

    def attach(self, row: Row, body: Row) -> None:
        row["server"] = body["server"]

    def detach(self, row: Row, _: Row) -> None:
        row["server"] = None

    def resize(self, row: Row, body: Row) -> None:
        row["size"] = body["size"]

    def assign(self, row: Row, body: Row) -> None:
        row["assignee_id"] = body["assignee_id"]
        server = self.rows["servers"][body["assignee_id"]]
        server["public_net"][row["type"]] = {"id": row["id"], "ip": row["ip"]}

    def unassign(self, row: Row, _: Row) -> None:
        self.rows["servers"][row["assignee_id"]]["public_net"][row["type"]] = None
        row["assignee_id"] = None
