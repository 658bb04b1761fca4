"""Peers made with node-soap, in JavaScript; each is a process of ``node/soap_peer.js``."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.interop import node_peer
from tests.interop.operations import Payload
from tests.interop.soap_peer import SoapPeer, Texts, a_soap_peer, texts
from wattbridge.ocpp.wsdl import descriptions_folder, published, published_schema
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
        _write_descriptions(version, Path(folder))
        async with a_soap_peer(["node", program, role, folder], role, version, Json()) as peer:
            yield peer


def _write_descriptions(version: str, folder: Path) -> None:
    """Our descriptions as the gateway publishes them, in files."""
    for file in (descriptions_folder() / version).glob("*Service.*"):
        name, _, kind = file.name.partition(".")
        text = published_schema(file.name, version) if kind == "xsd" else None
        if text is None:
            text = re.sub(rb"\?xsd=([\w.]+)(?:&amp;version=[\d.]+)?", rb"\1", published(name, "", version))
        (folder / file.name).write_bytes(text)
