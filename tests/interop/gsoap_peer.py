"""Peers made with gSOAP, in C; each is a process of ``gsoap/peer.c``.

What gSOAP makes of our service descriptions is made here, when a test first asks for it, and is never kept
with the project: its licence is another. Debian's packages are ``gsoap`` and ``libgsoap-dev``.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from lxml import etree

from tests.interop.operations import Payload
from tests.interop.soap_peer import SoapPeer, Texts, a_soap_peer, texts
from wattbridge.ocpp.wsdl import descriptions_folder

FOLDER = Path(__file__).parent / "gsoap"
PROGRAMS = {"wsdl2h": "gsoap", "soapcpp2": "gsoap", "gcc": "gcc", "pkg-config": "pkg-config"}  # → package


def missing() -> str:
    """What has to be there and is not; nothing when all of it is."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is not installed: it is in Debian's package {package}"
    if subprocess.run(["pkg-config", "--exists", "gsoap"], check=False).returncode:
        return "the library of gSOAP is not installed: it is in Debian's package libgsoap-dev"
    return ""


# Where it is known that all of it is there, nothing is skipped.
needs_gsoap = pytest.mark.skipif(bool(missing()) and os.environ.get("CI") != "true", reason=missing())


# --- Building ------------------------------------------------------------------------------------------


@functools.cache
def built(version: str) -> Path:
    """The program for one version of OCPP; built once for each state of what it is made of (2 s)."""
    assert not missing(), missing()
    services = [
        Path(str(descriptions_folder())) / version / f"{service}.wsdl"
        for service in ("CentralSystemService", "ChargePointService")
    ]
    parts = [FOLDER / "peer.c", Path(__file__), *sorted(services[0].parent.iterdir())]
    digest = hashlib.sha256(_said("pkg-config", "--modversion", "gsoap").encode())
    for part in parts:
        digest.update(part.read_bytes())
    program = FOLDER / "build" / f"peer-{version}-{digest.hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            _build(Path(folder), services)
            Path(folder, "peer").replace(program)
    return program


def _build(folder: Path, services: list[Path]) -> None:
    shared = Path(shutil.which("wsdl2h") or "").parent.parent / "share" / "gsoap"
    flags = _said("pkg-config", "--cflags", "gsoap").split()
    libraries = _said("pkg-config", "--libs", "gsoap").split()
    includes = ["-I.", f"-I{shared / 'plugin'}"]
    (folder / "actions.h").write_text("".join(f"{line}\n" for line in _actions(services)))
    # In C (-c), and without samples (-x), descriptions (-w) and files for libraries (-L).
    _run(folder, "wsdl2h", "-c", "-o", "services.h", *services)
    _run(folder, "soapcpp2", "-c", "-x", "-w", "-L", f"-I{shared / 'import'}", "services.h")
    # Warnings are errors in what is ours, and not our business in what is not.
    _run(
        folder, "gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", *flags, *includes, "-c", FOLDER / "peer.c"
    )
    foreign: list[str | Path] = ["soapC.c", "soapClient.c", "soapServer.c", shared / "plugin" / "wsaapi.c"]
    _run(folder, "gcc", "-w", *flags, *includes, "-o", "peer", "peer.o", *foreign, *libraries)


def _actions(services: list[Path]) -> list[str]:
    """A line for each operation: ``ACTION_OF_THE_CHARGE_POINT(Reset, reset)``."""
    lines = []
    for path, party in zip(services, ("CENTRAL_SYSTEM", "CHARGE_POINT"), strict=True):
        names = etree.parse(str(path)).findall("{*}portType/{*}operation")
        for name in (str(operation.get("name")) for operation in names):
            lines.append(f"ACTION_OF_THE_{party}({name}, {name[0].lower()}{name[1:]})")
    return lines


def _run(folder: Path, *command: str | Path) -> None:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}"


def _said(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


# --- Running -------------------------------------------------------------------------------------------


class Xml:
    """Bodies as the one element that they are; what would end a field or a line is escaped."""

    def write(self, element: str, namespace: str, payload: Payload) -> str:
        written = _inside(payload)
        return f"<{element} xmlns={quoteattr(namespace)}{written}</{element}>"

    def read(self, element: str, namespace: str, text: str) -> Texts:
        read = etree.fromstring(text)
        assert read.tag == f"{{{namespace}}}{element}"
        return texts(_payload(read, namespace))


_ESCAPED = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def _inside(value: Any) -> str:
    """What follows the name of an element in its start tag, and its content."""
    if not isinstance(value, dict):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return ">" + escape(text, _ESCAPED)
    attributes = "".join(
        f" {name[1:]}={quoteattr(inner)}" for name, inner in value.items() if name.startswith("@")
    )
    content = escape(value.get("$value", ""), _ESCAPED)
    for name, inner in value.items():
        if not name.startswith(("@", "$")):
            several = inner if isinstance(inner, list) else [inner]
            content += "".join(f"<{name}{_inside(one)}</{name}>" for one in several)
    return f"{attributes}>{content}"


def _payload(element: etree._Element, namespace: str) -> Payload:
    found: Payload = {f"@{name!s}": str(text) for name, text in element.attrib.items()}
    for child in element:
        name = str(child.tag).removeprefix(f"{{{namespace}}}")
        inner = _payload(child, namespace) if len(child) or child.attrib else child.text or ""
        found.setdefault(name, []).append(inner)
    if element.attrib and not len(element):
        found["$value"] = element.text or ""
    return found


def a_gsoap_peer(role: str, version: str) -> AbstractAsyncContextManager[SoapPeer]:
    """``a_gsoap_peer("charge_point", "1.6")``"""
    return a_soap_peer([built(version), role], role, version, Xml())
