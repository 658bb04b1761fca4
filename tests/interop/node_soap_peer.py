"""Peers made with node-soap, in JavaScript; each is a process of ``node/soap_peer.js``."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lxml import etree

from tests.interop import node_peer
from tests.interop.operations import Payload
from tests.interop.soap_peer import SoapPeer, Texts, a_soap_peer, texts
from wattbridge.ocpp.wsdl import descriptions_folder
from wattbridge.simulators.frames import floats


def missing() -> str:
    """What has to be there and is not; nothing when all of it is."""
    return node_peer.missing("soap")


# Where it is known that all of it is there, nothing is skipped.
needs_node_soap = pytest.mark.skipif(bool(missing()) and os.environ.get("CI") != "true", reason=missing())


class Json:
    """Bodies as the objects that node-soap makes of them; it finds element and namespace by itself."""

    def write(self, element: str, namespace: str, payload: Payload) -> str:
        return json.dumps(floats(payload))

    def read(self, element: str, namespace: str, text: str) -> Texts:
        return texts(json.loads(text))


@asynccontextmanager
async def a_node_soap_peer(role: str, version: str) -> AsyncIterator[SoapPeer]:
    """``a_node_soap_peer("charge_point", "1.6")``"""
    assert not missing(), missing()
    program = node_peer.FOLDER / "soap_peer.js"
    with tempfile.TemporaryDirectory() as folder:
        _write_descriptions(Path(str(descriptions_folder())) / version, Path(folder))
        async with a_soap_peer(["node", program, role, folder], role, version, Json()) as peer:
            yield peer


XS = "{http://www.w3.org/2001/XMLSchema}"


def _write_descriptions(folder: Path, copy: Path) -> None:
    """Our descriptions with what they include in its place.

    node-soap 1.13 does not lend a namespace to an included schema that has none (XML Schema 1.0, 4.2.1), so
    it knows nothing of what is in our ``types.xsd``. DataTransfer, whose elements are there, then ends in
    "Cannot read properties of undefined (reading 'description')".
    """
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    for path in copy.glob("*Service.xsd"):
        schema = etree.parse(str(path)).getroot()
        [prefix] = [name for name, uri in schema.nsmap.items() if uri == schema.get("targetNamespace")]
        for include in schema.findall(f"{XS}include"):
            included = etree.parse(str(copy / str(include.get("schemaLocation")))).getroot()
            for element in included.iter(f"{XS}*"):
                for name in ("type", "base"):
                    named = str(element.get(name, ":"))
                    if ":" not in named:
                        element.set(name, f"{prefix}:{named}")
            schema.remove(include)
            schema.extend(list(included))
        path.write_bytes(etree.tostring(schema, xml_declaration=True, encoding="UTF-8"))
