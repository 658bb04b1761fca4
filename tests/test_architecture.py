"""Who may import whom. The table is the architecture; a module that breaks it does not pass."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import wattbridge

SOURCE = Path(wattbridge.__file__).parent

# Part of the package → the parts that it may import, itself included.
MAY_IMPORT = {
    "ocpp": {"ocpp"},
    "store": {"ocpp", "store"},
    "relay": {"ocpp", "relay", "store.base"},
    "links": {"ocpp", "relay", "links"},
    "operation": {"ocpp", "relay", "operation", "store.base"},
    "simulators": {"ocpp", "simulators"},
    "config": {"ocpp", "config"},
    "counting": {"counting"},
}
# What ties all of that together may import everything; nothing of the above may import these.
EVERYTHING = {
    *("app", "doors", "fleet", "upstreams", "routing", "reloading", "administration", "keeping"),
    "profiling",
    *("reports", "overview", "operating", "observing", "showing", "tracing", "supporting"),
    *("cli", "__main__", "__init__"),
}

# The pure part gets bytes, text and the time as arguments.
IMPURE = {
    *("time", "socket", "ssl", "select", "selectors", "random", "secrets", "uuid", "asyncio", "threading"),
    *("multiprocessing", "concurrent", "subprocess", "signal", "queue", "sched", "logging", "os", "tempfile"),
    *("requests", "aiohttp", "websockets", "http", "urllib3", "uvloop", "httpx", "sqlite3"),
}
# Reading a clock through a module that is otherwise pure.
CLOCKS = {"now", "utcnow", "today"}

NETWORK = {
    *("socket", "ssl", "aiohttp", "websockets", "http", "requests", "urllib3", "httpx", "socketserver"),
    *("smtplib", "ftplib"),
}
# Where a library of the network may be named, and why.
NETWORK_ALLOWED = {
    "links": "the four corners, where each party is reached",
    "simulators": "independent parties with sockets of their own",
    "operation.health": "the port for probes and metrics, apart from the charge points' listeners",
    "operation.trace.pages": "pages of the port for operators",
    "operation.systemd": "the socket that systemd listens at for how its services do",
    "operation.api": "the port for operators, apart from the charge points' listeners",
    "cli": "commands that ask a running gateway",
    "config.kinds": "it reads certificates as TLS will",
    "app": "names the families of address it listens on",
}

# Library → the modules that may import it, and why.
ONLY_IN = {
    "zeep": (
        {"ocpp.wsdl", "simulators"},
        "it reads the descriptions once, and is a foreign stack to test with",
    ),
    "ocpp": ({"simulators"}, "the PyPI package is a foreign stack to test with"),
    "spyne": ({"simulators.compat_spyne"}, "it has to be mended before it can be imported"),
    "opentelemetry": ({"operation.otel"}, "its packages are an extra, and imported only where they are used"),
    "sqlite3": ({"store.sqlite", "store.upkeep"}, "a database is named only in the store that is made of it"),
}


def imports_of(text: str, module: str) -> Iterator[tuple[str, int]]:
    """Every module that *module*, whose source is *text*, imports anywhere in it, with the line.

    ``from a import b`` gives ``a.b``: that may be a module, too.
    """
    package = module.split(".")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level], *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _is_import_call(node):
            yield (node.args[0].value if isinstance(node.args[0], ast.Constant) else "?", node.lineno)  # type: ignore[misc]


def _is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("import_module", "__import__") and bool(node.args)


def is_inside(module: str, places: set[str]) -> bool:
    """Whether *module* (``ocpp.wsdl``) is one of *places*, or in one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


def breaches(text: str, module: str) -> list[str]:
    """What is wrong with *module* (``ocpp.wsdl``, without the package's name), whose source is *text*."""
    part = module.partition(".")[0]
    found = []
    if part not in MAY_IMPORT and part not in EVERYTHING:
        found.append(f"{module}: {part} has no row in the table of who may import whom")
    for name, line in imports_of(text, f"wattbridge.{module}"):
        where = f"{module}:{line} imports {name}"
        top = name.partition(".")[0]
        if top == "wattbridge":
            other = name.split(".")[1] if "." in name else "__init__"
            if is_inside(name, {"wattbridge.store.base"}) and "store" not in MAY_IMPORT.get(part, ()):
                other = "store.base"  # the interface, and no database
            if part in MAY_IMPORT and other not in MAY_IMPORT[part] and other != "__version__":
                found.append(f"{where}: {part} may import {', '.join(sorted(MAY_IMPORT[part]))}")
            continue
        if part == "ocpp" and top in IMPURE:
            found.append(f"{where}: ocpp knows no clock, socket, randomness, asyncio, log or file system")
        if name == "?":
            found.append(f"{where}: which module that is cannot be seen")
        if top in NETWORK and not is_inside(module, set(NETWORK_ALLOWED)):
            found.append(f"{where}: the network is named only in {', '.join(NETWORK_ALLOWED)}")
        if top in ONLY_IN and not is_inside(module, ONLY_IN[top][0]):
            found.append(f"{where}: {ONLY_IN[top][1]}")
    if part == "ocpp":
        found += [
            f"{module}:{node.lineno} reads a clock by .{node.attr}: the time is an argument"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute) and node.attr in CLOCKS
        ]
    return found


def modules() -> Iterator[tuple[str, str]]:
    for file in sorted(SOURCE.rglob("*.py")):
        yield ".".join(file.relative_to(SOURCE).with_suffix("").parts), file.read_text()


@pytest.mark.parametrize(("module", "text"), list(modules()), ids=[module for module, _ in modules()])
def test_a_module_imports_what_it_may(module: str, text: str) -> None:
    assert breaches(text, module) == []


@pytest.mark.parametrize(
    ("module", "text", "problem"),
    [
        (
            "ocpp.soap",
            "from wattbridge.relay import session",
            "imports wattbridge.relay.session: ocpp may import ocpp",
        ),
        (
            "ocpp.soap",
            "from ..links.bodies import x",
            "imports wattbridge.links.bodies.x: ocpp may import ocpp",
        ),
        ("relay.session", "import wattbridge.links.base", "relay may import ocpp, relay, store.base"),
        ("links.listener", "from wattbridge import app", "links may import links, ocpp, relay"),
        ("links.listener", "from wattbridge.config import models", "links may import links, ocpp, relay"),
        ("relay.routes", "from wattbridge.config import models", "relay may import ocpp, relay, store.base"),
        (
            "relay.session",
            "from wattbridge.routing import routes_of",
            "relay may import ocpp, relay, store.base",
        ),
        ("config.models", "from wattbridge.relay.routes import Route", "config may import config, ocpp"),
        ("config.models", "from wattbridge.links import trying", "config may import config, ocpp"),
        (
            "operation.logs",
            "import wattbridge.simulators",
            "operation may import ocpp, operation, relay, store.base",
        ),
        (
            "simulators.charge_point",
            "def f():\n    from wattbridge.links import x",
            "simulators may import ocpp",
        ),
        ("ocpp.ocppj", "import time", "ocpp knows no clock"),
        ("ocpp.ocppj", "def f():\n    from asyncio import sleep", "ocpp knows no clock"),
        ("ocpp.ocppj", "import random as r", "ocpp knows no clock"),
        ("ocpp.times", "from datetime import datetime\nnow = datetime.now", "times:2 reads a clock by .now"),
        ("ocpp.times", "import datetime\ndatetime.datetime.utcnow()", "reads a clock by .utcnow"),
        ("ocpp.times", "import datetime\ndatetime.date.today()", "reads a clock by .today"),
        ("relay.session", "import aiohttp", "the network is named only in links"),
        (
            "relay.session",
            "from websockets.asyncio.client import connect",
            "the network is named only in links",
        ),
        ("operation.logs", "import http.server", "the network is named only in links"),
        ("operation.healthy", "import socket", "the network is named only in links"),
        ("config.values", "import socket", "the network is named only in links"),
        ("ocpp.payloads", "import zeep", "it reads the descriptions once"),
        ("links.listener", "from zeep import xsd", "it reads the descriptions once"),
        ("links.listener", "import ocpp.v16", "the PyPI package is a foreign stack"),
        ("app", "from spyne import Application", "it has to be mended"),
        ("simulators.naive", "import spyne", "it has to be mended"),
        (
            "relay.session",
            "import importlib\nimportlib.import_module('aiohttp')",
            "the network is named only in",
        ),
        ("relay.session", "__import__(name)", "which module that is cannot be seen"),
        ("relay.outbox", "from wattbridge.store import sqlite", "relay may import ocpp, relay, store.base"),
        ("relay.outbox", "import sqlite3", "a database is named only in the store that is made of it"),
        ("operation.api", "import wattbridge.store.sqlite", "operation may import"),
        ("links.listener", "from wattbridge.store.base import Store", "links may import links, ocpp, relay"),
        ("store.base", "from wattbridge.relay.session import Session", "store may import ocpp, store"),
        ("shelves.sqlite", "import json", "shelves has no row in the table"),
    ],
)
def test_a_breach_is_found(module: str, text: str, problem: str) -> None:
    found = breaches(text, module)
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("ocpp.times", "from datetime import datetime\nfrom wattbridge.ocpp.errors import Violation"),
        ("ocpp.times", "from . import errors\nfrom .errors import Violation"),
        ("ocpp.wsdl", "def f():\n    from zeep import xsd"),
        ("relay.session", "import asyncio, time\nfrom wattbridge.ocpp.messages import Call"),
        ("links.json_link", "import aiohttp, websockets, ssl\nfrom wattbridge.relay import session"),
        ("operation.health", "import aiohttp.web\nfrom wattbridge import __version__"),
        ("relay.outbox", "from wattbridge.store.base import Store, Waiting"),
        ("store.sqlite", "import sqlite3, threading\nfrom wattbridge.store.base import Row"),
        ("simulators.central_system_json", "import ocpp.v16, websockets"),
        ("cli.check", "import socket\nfrom wattbridge.config import models\nfrom wattbridge.app import run"),
        ("app", "import wattbridge\nfrom wattbridge.links import x\nfrom wattbridge.simulators import y"),
    ],
)
def test_what_is_allowed_is_no_breach(module: str, text: str) -> None:
    assert breaches(text, module) == []


def test_every_allowed_place_exists() -> None:
    """Or the next module of that name would be allowed by accident."""
    known = {module.removesuffix(".__init__") for module, _ in modules()}
    places = set(NETWORK_ALLOWED) | {place for allowed, _ in ONLY_IN.values() for place in allowed}
    assert sorted(place for place in places if place not in known) == []
