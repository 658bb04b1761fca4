"""Tries whether a central system can be reached, step by step, and says what was seen at each.

Nothing of OCPP is sent: a WebSocket is opened and closed again, of a SOAP service the description is read.
What a charge point's link does with a central system is the business of ``central_system_json`` and
``central_system_soap``.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from lxml import etree
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, NegotiationError, WebSocketException
from websockets.typing import Subprotocol

MOST_WSDL = 4 * 1024 * 1024  # bytes
SOON = 21  # days that a certificate is still valid, and somebody should know

WSDL = "http://schemas.xmlsoap.org/wsdl/"
SERVICE = "CentralSystemService"

# doubt: it may be as it is meant; refused: it is there and does not want us; unreachable: it is not there.
Verdict = Literal["ok", "doubt", "refused", "unreachable"]

# What a central system means by the HTTP status it answers a WebSocket handshake with.
MEANINGS = {
    400: "it did not like the request: is this the address of its OCPP-J service?",
    401: "it wants another user name or password (auth.basic, or upstream_password of the charge point)",
    403: "it knows who asks, and does not let this charge point or this address in",
    404: "it does not know this charge point, or the path of the URL is wrong",
    405: "this path is not one of WebSockets",
    426: "it wants another version of HTTP or of WebSockets",
    429: "it has had too many attempts: wait a little",
    502: "what stands before it does not reach it",
    503: "it is not ready, or overloaded",
    504: "what stands before it does not reach it",
}


@dataclass(frozen=True, slots=True)
class Target:
    """One central system, as one charge point would reach it.

    ``url`` is the whole address, the identity in it. Of TLS, ``ca`` None trusts what the system trusts, and
    ``certificate`` with ``key`` is what is shown to it.
    """

    url: str
    username: str = ""
    password: bytes | None = None  # None sends no credential
    subprotocol: str = "ocpp1.6"
    user_agent: str = "wattbridge"
    timeout: float = 10.0  # seconds, for each step
    ca: Path | None = None
    verify: bool = True
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What was seen: ``Step("TLS", "ok", "TLSv1.3, certificate CN=csms.example.com, 63 days left")``."""

    name: Literal["TCP", "TLS", "WebSocket", "WSDL"]
    verdict: Verdict
    text: str


async def try_central_system(target: Target) -> list[Step]:
    """Try one central system, up to the first step that fails.

    The scheme of the URL says what is asked for in the end: a WebSocket, or the description of a service.
    """
    parts = urlsplit(target.url)
    secure = parts.scheme in ("wss", "https")
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    steps = [await _try_tcp(host, port, target)]
    context = None
    if secure and steps[-1].verdict == "ok":
        context = _context(target)
        steps.append(await _try_tls(host, port, target, context))
    if steps[-1].verdict in ("ok", "doubt"):
        websocket = parts.scheme in ("ws", "wss")
        steps.append(await (_try_websocket if websocket else _try_wsdl)(target, context))
    return steps


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=target.ca)
    if not target.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if target.certificate:
        context.load_cert_chain(target.certificate, target.key)
    return context


@asynccontextmanager
async def _connection(host: str, port: int, within: float, **options: Any) -> AsyncIterator[Any]:
    """The transport of a connection that is made *within* so many seconds, and closed afterwards."""
    async with asyncio.timeout(within):
        _, writer = await asyncio.open_connection(host, port, **options)
    try:
        yield writer.transport
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _try_tcp(host: str, port: int, target: Target) -> Step:
    began = time.monotonic()
    try:
        async with _connection(host, port, target.timeout) as transport:
            address = transport.get_extra_info("peername")[0]
    except TimeoutError:
        return Step("TCP", "unreachable", f"no connection to {host}:{port} within {target.timeout:g} s")
    except socket.gaierror as problem:
        return Step("TCP", "unreachable", f"{host} has no address: {problem.strerror}")
    except OSError as problem:
        return Step("TCP", "unreachable", f"no connection to {host}:{port}: {_sentence(problem)}")
    where = f"{host} ({address})" if address != host else host
    return Step("TCP", "ok", f"connected to {where}, port {port}, in {_milliseconds(began)}")


async def _try_tls(host: str, port: int, target: Target, context: ssl.SSLContext) -> Step:
    try:
        async with _connection(host, port, target.timeout, ssl=context, server_hostname=host) as transport:
            version = transport.get_extra_info("ssl_object").version()
            certificate = transport.get_extra_info("peercert")
    except TimeoutError:
        return Step("TLS", "unreachable", f"no TLS handshake within {target.timeout:g} s")
    except ssl.SSLCertVerificationError as problem:
        shown = _named(await _certificate(host, port, target))
        return Step(
            "TLS",
            "unreachable",
            f"its certificate is not trusted: {problem.verify_message.rstrip('.')}{shown}",
        )
    except ssl.SSLError as problem:
        reason = (problem.reason or str(problem)).replace("_", " ").lower()
        return Step("TLS", "unreachable", f"no TLS here, or none that fits: {reason}")
    except OSError as problem:
        return Step("TLS", "unreachable", f"the TLS handshake failed: {_sentence(problem)}")
    certificate = certificate or await _certificate(host, port, target)
    text = f"{version}{_named(certificate)}"
    if not target.verify:
        text += ", not checked (tls.verify is off)"
    if not certificate:
        return Step("TLS", "ok", text)
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) // 86400)
    verdict: Verdict = "doubt" if days < SOON else "ok"
    return Step("TLS", verdict, f"{text}, {days} {'day' if days == 1 else 'days'} left")


def _named(certificate: dict[str, Any]) -> str:
    """``, certificate CN=csms.example.com``, or nothing when none could be read."""
    if not certificate:
        return ""
    subject = dict(pair for names in certificate.get("subject", ()) for pair in names)
    name = subject.get("commonName")
    if name is None:
        name = next((value for _, value in certificate.get("subjectAltName", ())), "without a name")
        return f", certificate for {name}"
    return f", certificate CN={name}"


async def _certificate(host: str, port: int, target: Target) -> dict[str, Any]:
    """The certificate that is shown, whether it is trusted or not; empty when it cannot be read.

    The ssl module reads only certificates it has verified, so it is asked for as a trusted one.
    """
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    with suppress(OSError, TimeoutError, ValueError):
        async with _connection(host, port, target.timeout, ssl=blind, server_hostname=host) as transport:
            shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname = False
        trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        trusting.load_verify_locations(cadata=shown)
        async with _connection(host, port, target.timeout, ssl=trusting, server_hostname=host) as transport:
            return transport.get_extra_info("peercert") or {}
    return {}


async def _try_websocket(target: Target, context: ssl.SSLContext | None) -> Step:
    headers = {"Authorization": f"Basic {_credential(target)}"} if target.password is not None else {}
    secure: dict[str, Any] = {"ssl": context} if context else {}
    try:
        async with _Connect(
            target.url,
            subprotocols=[Subprotocol(target.subprotocol)],
            additional_headers=headers,
            user_agent_header=target.user_agent,
            compression=None,
            proxy=None,  # whatever the environment says
            open_timeout=target.timeout,
            close_timeout=min(target.timeout, 2.0),
            **secure,
        ) as websocket:
            answered = websocket.subprotocol
    except InvalidStatus as refusal:
        return _refused("WebSocket", refusal.response.status_code, refusal.response.headers.get("Location"))
    except NegotiationError as problem:
        return Step("WebSocket", "refused", f"its answer breaks what was offered: {problem}")
    except TimeoutError:
        return Step("WebSocket", "unreachable", f"no answer to the handshake within {target.timeout:g} s")
    except (WebSocketException, EOFError) as problem:
        return Step("WebSocket", "refused", f"no WebSocket: {problem}")
    except OSError as problem:
        return Step("WebSocket", "unreachable", f"the handshake failed: {_sentence(problem)}")
    if answered is None:
        text = (
            f"HTTP 101, but it names no subprotocol: {target.subprotocol} was asked for (OCPP-J 1.6, 3.1.2)"
        )
        return Step("WebSocket", "refused", text)
    return Step("WebSocket", "ok", f"HTTP 101, subprotocol {answered}")


class _Connect(connect):
    """websockets' connect, which follows no redirect: whoever asks wants to know of it."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def _try_wsdl(target: Target, context: ssl.SSLContext | None) -> Step:
    url = f"{target.url}{'&' if '?' in target.url else '?'}wsdl"
    headers = {"User-Agent": target.user_agent, "Accept": "text/xml, application/xml, */*"}
    if target.password is not None:
        headers["Authorization"] = f"Basic {_credential(target)}"
    timeout = aiohttp.ClientTimeout(total=target.timeout)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(url, allow_redirects=False, ssl=context or True) as response,
        ):
            if response.status != HTTPStatus.OK:
                return _refused("WSDL", response.status, response.headers.get("Location"))
            body = await _read(response)
    except TimeoutError:
        return Step("WSDL", "unreachable", f"no answer within {target.timeout:g} s")
    except (aiohttp.ClientError, OSError) as problem:
        return Step("WSDL", "unreachable", f"no answer to GET ?wsdl: {problem}")
    return _described(body)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > MOST_WSDL:
            break
    return bytes(body)


def _described(body: bytes) -> Step:
    """What the answer to ``GET ?wsdl`` says of the service."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return Step("WSDL", "doubt", f"HTTP 200, but no WSDL: it begins with {body[:60]!r}")
    if root.tag != f"{{{WSDL}}}definitions":
        return Step("WSDL", "doubt", f"HTTP 200, but no WSDL: the root element is {root.tag[:100]}")
    names = [
        element.get("name", "")
        for kind in ("service", "portType", "binding")
        for element in root.iter(f"{{{WSDL}}}{kind}")
    ]
    namespace = root.get("targetNamespace", "")
    if not any(SERVICE in name for name in names) and "/Cs/" not in namespace:
        others = ", ".join(sorted(set(filter(None, names)))[:5]) or "nothing"
        return Step("WSDL", "doubt", f"HTTP 200, a WSDL, but without {SERVICE}: it describes {others}")
    return Step("WSDL", "ok", f"HTTP 200, a WSDL of {SERVICE} ({namespace[:100] or 'no namespace'})")


def _refused(name: Literal["WebSocket", "WSDL"], status: int, location: str | None) -> Step:
    try:
        text = f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        text = f"HTTP {status}"
    if location is not None:
        return Step(
            name, "refused", f"{text}, to {location[:200]}: write that address if it is the right one"
        )
    if name == "WSDL" and status not in (401, 403, 502, 503, 504):
        return Step(name, "doubt", f"{text}: it does not show its description, so the path cannot be checked")
    meaning = MEANINGS.get(status)
    return Step(name, "refused", f"{text}: {meaning}" if meaning else text)


def _credential(target: Target) -> str:
    return base64.b64encode(target.username.encode() + b":" + (target.password or b"")).decode()


def _milliseconds(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"


def _sentence(problem: OSError) -> str:
    """What went wrong, without the addresses that asyncio puts before it."""
    if isinstance(problem, ConnectionRefusedError):
        return "connection refused"
    return problem.strerror or str(problem) or type(problem).__name__
