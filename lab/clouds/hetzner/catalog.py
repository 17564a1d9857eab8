"""The cloud's locations, server types and images: a snapshot of the real offer, with zero prices."""

from typing import Any

from .errors import ApiError, invalid

Row = dict[str, Any]

_EUROPE = ("fsn1", "nbg1", "hel1")
_EVERYWHERE = (*_EUROPE, "ash", "hil", "sin")
_LOCATIONS = (
    (1, "fsn1", "Falkenstein DC Park 1", "DE", "Falkenstein", 50.47612, 12.370071, "eu-central"),
    (2, "nbg1", "Nuremberg DC Park 1", "DE", "Nuremberg", 49.452102, 11.076665, "eu-central"),
    (3, "hel1", "Helsinki DC Park 1", "FI", "Helsinki", 60.169855, 24.938379, "eu-central"),
    (4, "ash", "Ashburn, VA", "US", "Ashburn, VA", 39.045821, -77.487073, "us-east"),
    (5, "hil", "Hillsboro, OR", "US", "Hillsboro, OR", 45.54222, -122.951924, "us-west"),
    (6, "sin", "Singapore", "SG", "Singapore", 1.283333, 103.833333, "ap-southeast"),
)
_TYPES = (
    # id, name, cores, memory in GB, disk in GB, cpu, architecture, category, locations
    (114, "cx23", 2, 4, 40, "shared", "x86", "Cost Optimized", _EUROPE),
    (115, "cx33", 4, 8, 80, "shared", "x86", "Cost Optimized", _EUROPE),
    (116, "cx43", 8, 16, 160, "shared", "x86", "Cost Optimized", _EUROPE),
    (117, "cx53", 16, 32, 320, "shared", "x86", "Cost Optimized", _EUROPE),
    (45, "cax11", 2, 4, 40, "shared", "arm", "Cost Optimized", _EUROPE),
    (93, "cax21", 4, 8, 80, "shared", "arm", "Cost Optimized", _EUROPE),
    (94, "cax31", 8, 16, 160, "shared", "arm", "Cost Optimized", _EUROPE),
    (95, "cax41", 16, 32, 320, "shared", "arm", "Cost Optimized", _EUROPE),
    (108, "cpx12", 1, 2, 40, "shared", "x86", "Regular Performance", (*_EUROPE, "sin")),
    (109, "cpx22", 2, 4, 80, "shared", "x86", "Regular Performance", (*_EUROPE, "sin")),
    (110, "cpx32", 4, 8, 160, "shared", "x86", "Regular Performance", (*_EUROPE, "sin")),
    (111, "cpx42", 8, 16, 320, "shared", "x86", "Regular Performance", (*_EUROPE, "sin")),
    (112, "cpx52", 12, 24, 480, "shared", "x86", "Regular Performance", (*_EUROPE, "sin")),
    (113, "cpx62", 16, 32, 640, "shared", "x86", "Regular Performance", (*_EUROPE, "sin")),
    (22, "cpx11", 2, 2, 40, "shared", "x86", "Regular Performance", ("ash", "hil", "sin")),
    (23, "cpx21", 3, 4, 80, "shared", "x86", "Regular Performance", ("ash", "hil", "sin")),
    (24, "cpx31", 4, 8, 160, "shared", "x86", "Regular Performance", ("ash", "hil", "sin")),
    (25, "cpx41", 8, 16, 240, "shared", "x86", "Regular Performance", ("ash", "hil", "sin")),
    (26, "cpx51", 16, 32, 360, "shared", "x86", "Regular Performance", ("ash", "hil", "sin")),
    (96, "ccx13", 2, 8, 80, "dedicated", "x86", "General Purpose", _EVERYWHERE),
    (97, "ccx23", 4, 16, 160, "dedicated", "x86", "General Purpose", _EVERYWHERE),
    (98, "ccx33", 8, 32, 240, "dedicated", "x86", "General Purpose", _EVERYWHERE),
    (99, "ccx43", 16, 64, 360, "dedicated", "x86", "General Purpose", _EVERYWHERE),
    (100, "ccx53", 32, 128, 600, "dedicated", "x86", "General Purpose", _EVERYWHERE),
    (101, "ccx63", 48, 192, 960, "dedicated", "x86", "General Purpose", _EVERYWHERE),
)
_IMAGES = (
    # id, name, flavour, version, architecture
    (114690387, "debian-12", "debian", "12", "x86"),
    (114690389, "debian-12", "debian", "12", "arm"),
    (310557660, "debian-13", "debian", "13", "x86"),
    (310557664, "debian-13", "debian", "13", "arm"),
    (103908130, "ubuntu-22.04", "ubuntu", "22.04", "x86"),
    (103907373, "ubuntu-22.04", "ubuntu", "22.04", "arm"),
    (161547269, "ubuntu-24.04", "ubuntu", "24.04", "x86"),
    (161547270, "ubuntu-24.04", "ubuntu", "24.04", "arm"),
)


def _location(row: tuple[Any, ...]) -> Row:
    keys = ("id", "name", "description", "country", "city", "latitude", "longitude", "network_zone")
    return dict(zip(keys, row, strict=True))


LOCATIONS: list[Row] = [_location(row) for row in _LOCATIONS]


def _server_type(row: tuple[Any, ...]) -> Row:
    number, name, cores, memory, disk, cpu, architecture, category, locations = row
    price = {"net": "0.0000", "gross": "0.0000"}
    return {
        "id": number,
        "name": name,
        "description": name.upper(),
        "category": category,
        "cores": cores,
        "memory": float(memory),
        "disk": disk,
        "deprecated": False,
        "deprecation": None,
        "storage_type": "local",
        "cpu_type": cpu,
        "architecture": architecture,
        "prices": [
            {
                "location": location,
                "price_hourly": price,
                "price_monthly": price,
                "included_traffic": 0,
                "price_per_tb_traffic": price,
            }
            for location in locations
        ],
        "locations": [
            {"id": one["id"], "name": one["name"], "available": True, "recommended": True, "deprecation": None}
            for one in LOCATIONS
            if one["name"] in locations
        ],
    }


def _image(row: tuple[Any, ...]) -> Row:
    number, name, flavour, version, architecture = row
    return {
        "id": number,
        "type": "system",
        "status": "available",
        "name": name,
        "description": f"{flavour.capitalize()} {version}",
        "image_size": None,
        "disk_size": 5.0,
        "created": "2024-01-01T00:00:00+00:00",
        "created_from": None,
        "bound_to": None,
        "os_flavor": flavour,
        "os_version": version,
        "rapid_deploy": True,
        "protection": {"delete": False},
        "deprecated": None,
        "labels": {},
        "deleted": None,
        "architecture": architecture,
    }


SERVER_TYPES: list[Row] = sorted((_server_type(row) for row in _TYPES), key=lambda row: int(row["id"]))
IMAGES: list[Row] = sorted((_image(row) for row in _IMAGES), key=lambda row: int(row["id"]))


def _find(rows: list[Row], field: str, wanted: object) -> Row:
    if isinstance(wanted, int) or (isinstance(wanted, str) and wanted.isdigit()):
        found = [row for row in rows if row["id"] == int(wanted)]
    else:
        found = [row for row in rows if row["name"] == wanted]
    if not found:
        raise invalid(field, f"{field} '{wanted}' is unknown")
    return found[0]


def location(wanted: object) -> Row:
    """The location with that id or name.

    Raises:
        ApiError: `invalid_input`.
    """
    return _find(LOCATIONS, "location", wanted)


def server_type(wanted: object) -> Row:
    """The server type with that id or name.

    Raises:
        ApiError: `invalid_input`.
    """
    return _find(SERVER_TYPES, "server_type", wanted)


def image(wanted: object, architecture: str) -> Row:
    """The image with that id, or with that name for an architecture.

    Raises:
        ApiError: `invalid_input`.
    """
    named = [row for row in IMAGES if row["architecture"] == architecture]
    found = _find(named if isinstance(wanted, str) and not wanted.isdigit() else IMAGES, "image", wanted)
    if found["architecture"] != architecture:
        raise invalid("image", f"has architecture {found['architecture']}, but the server type has {architecture}")
    return found


def zone_exists(name: object) -> bool:
    """Whether a network zone has that name."""
    return any(row["network_zone"] == name for row in LOCATIONS)


def available(kind: Row, place: Row) -> None:
    """Refuse a server type where it is not sold.

    Raises:
        ApiError: `invalid_input`.
    """
    if place["name"] not in {row["name"] for row in kind["locations"]}:
        raise ApiError("invalid_input", f"unsupported location for server type {kind['name']}: {place['name']}")
