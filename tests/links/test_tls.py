"""TLS on real sockets: what a listener shows, whom it lets in, and new certificates while it runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.fakes import PlainWebSocket, dial, handshake
from tests.links.test_upgrades import Echo
from wattbridge.links.listener import HttpRequest, HttpResponse, Listener
from wattbridge.links.tls import ClientAuth, client_context, expires, reload, server_context
from wattbridge.links.upgrades import WebSocket

POST = b"POST /ocpp/cs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n<a/>"


@dataclass(frozen=True)
class Files:
    """The files of one authority: its own, and those of a certificate it has given."""

    ca: Path
    certificate: Path
    key: Path
    authority: trustme.CA


@pytest.fixture
def issue(tmp_path: Path) -> Callable[[str], Files]:
    """Give a certificate for *name* to 127.0.0.1, by an authority of its own."""

    def issued(name: str) -> Files:
        authority = trustme.CA(organization_name=f"authority of {name}")
        given = authority.issue_cert("127.0.0.1", common_name=name)
        files = Files(
            tmp_path / f"{name}-ca.pem", tmp_path / f"{name}.pem", tmp_path / f"{name}.key", authority
        )
        authority.cert_pem.write_to_path(files.ca)
        given.private_key_pem.write_to_path(files.key)
        for blob in given.cert_chain_pems:
            blob.write_to_path(files.certificate, append=True)
        return files

    return issued


@dataclass
class World:
    port: int
    requests: list[HttpRequest]


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[World]:
    requests: list[HttpRequest] = []

    async def handle(request: HttpRequest) -> HttpResponse:
        requests.append(request)
        return HttpResponse(200, b"<b/>")

    async def upgrade(request: HttpRequest, offered: tuple[str, ...]) -> WebSocket:
        requests.append(request)
        return WebSocket(Echo(), "ocpp1.6")

    listener = Listener("in", "127.0.0.1", 0, handle, tls=context, upgrade=upgrade)
    await listener.start()
    try:
        yield World(listener.port, requests)
    finally:
        await listener.stop(1.0)


@asynccontextmanager
async def connected(world: World, context: ssl.SSLContext) -> AsyncIterator[PlainWebSocket]:
    peer = await dial(world.port, handshake("/CP1"), ssl=context)
    try:
        yield peer
    finally:
        peer.hang_up()


async def post(world: World, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port, ssl=context)
    try:
        writer.write(POST)
        return await reader.read()
    finally:
        writer.close()


async def refused(world: World, context: ssl.SSLContext) -> bool:
    """Whether nothing comes back: under TLS 1.3 a client learns only after its handshake what it lacks."""
    with suppress(ssl.SSLError, ConnectionError):
        assert await post(world, context) == b""
    return world.requests == []


def shown_by(peer: PlainWebSocket) -> str:
    """The common name in the certificate of the gateway."""
    return common_name(peer.writer.get_extra_info("peercert"))


def common_name(certificate: Any) -> str:
    [name] = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
    return str(name)


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_requests_and_websockets_come_over_tls(issue: Callable[[str], Files], loop_name: str) -> None:
    gateway = issue("gateway")
    client = client_context(gateway.ca)

    async def run() -> None:
        async with listening(server_context(gateway.certificate, gateway.key)) as world:
            assert (await post(world, client)).endswith(b"\r\n\r\n<b/>")
            async with connected(world, client) as peer:
                assert (peer.status, shown_by(peer)) == (101, "gateway")
                peer.send("hello")
                assert await peer.text() == "hello"
            assert [request.certificate for request in world.requests] == [None, None]

    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop_name == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


@pytest.mark.parametrize("client_auth", ["optional", "required"])
async def test_the_certificate_of_a_charge_point_comes_with_its_request(
    issue: Callable[[str], Files], client_auth: ClientAuth
) -> None:
    gateway, charge_point = issue("gateway"), issue("SN-1")
    server = server_context(gateway.certificate, gateway.key, charge_point.ca, client_auth)
    client = client_context(gateway.ca, certificate=charge_point.certificate, key=charge_point.key)
    async with listening(server) as world:
        await post(world, client)
        async with connected(world, client):
            names = [common_name(request.certificate) for request in world.requests]
            assert names == ["SN-1", "SN-1"]


async def test_without_a_certificate_only_who_must_show_one_is_refused(
    issue: Callable[[str], Files],
) -> None:
    gateway, charge_point = issue("gateway"), issue("SN-1")
    client = client_context(gateway.ca)
    server = server_context(gateway.certificate, gateway.key, charge_point.ca, "optional")
    async with listening(server) as world:
        assert (await post(world, client)).startswith(b"HTTP/1.1 200 ")
    server = server_context(gateway.certificate, gateway.key, charge_point.ca, "required")
    async with listening(server) as world:
        assert await refused(world, client)


async def test_a_certificate_of_a_foreign_authority_is_refused(issue: Callable[[str], Files]) -> None:
    gateway, charge_point, stranger = issue("gateway"), issue("SN-1"), issue("SN-2")
    server = server_context(gateway.certificate, gateway.key, charge_point.ca, "optional")
    client = client_context(gateway.ca, certificate=stranger.certificate, key=stranger.key)
    async with listening(server) as world:
        assert await refused(world, client)


def test_nothing_older_than_tls_1_2_is_spoken(issue: Callable[[str], Files]) -> None:
    gateway = issue("gateway")
    for context in (server_context(gateway.certificate, gateway.key), client_context(gateway.ca)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_new_certificates_count_for_new_connections_and_the_old_ones_stay(
    issue: Callable[[str], Files],
) -> None:
    old, new = issue("old"), issue("new")
    trusting = client_context(old.ca)
    server = server_context(old.certificate, old.key)
    async with listening(server) as world, connected(world, trusting) as before:
        reload(server, certificate=new.certificate, key=new.key)
        with pytest.raises(ssl.SSLCertVerificationError):
            await post(world, trusting)
        reload(trusting, ca=new.ca)
        async with connected(world, trusting) as after:
            assert (shown_by(before), shown_by(after)) == ("old", "new")
        before.send("still here")
        assert await before.text() == "still here"


async def test_a_new_authority_lets_new_charge_points_in(issue: Callable[[str], Files]) -> None:
    gateway, first, second = issue("gateway"), issue("SN-1"), issue("SN-2")
    server = server_context(gateway.certificate, gateway.key, first.ca, "required")
    client = client_context(gateway.ca, certificate=second.certificate, key=second.key)
    async with listening(server) as world:
        assert await refused(world, client)
        reload(server, ca=second.ca)
        assert (await post(world, client)).startswith(b"HTTP/1.1 200 ")
        assert common_name(world.requests[0].certificate) == "SN-2"


async def test_what_does_not_fit_changes_nothing(issue: Callable[[str], Files], tmp_path: Path) -> None:
    old, new = issue("old"), issue("new")
    server = server_context(old.certificate, old.key)
    async with listening(server) as world:
        for certificate, key in ((new.certificate, old.key), (tmp_path / "nowhere.pem", new.key)):
            with pytest.raises(OSError, match=r"mismatch|No such file"):
                reload(server, certificate=certificate, key=key)
        async with connected(world, client_context(old.ca)) as peer:
            assert shown_by(peer) == "old"


async def test_whoever_is_told_not_to_verify_connects_to_anybody(issue: Callable[[str], Files]) -> None:
    gateway = issue("gateway")
    async with listening(server_context(gateway.certificate, gateway.key)) as world:
        with pytest.raises(ssl.SSLCertVerificationError):
            await post(world, client_context())
        assert (await post(world, client_context(verify=False))).startswith(b"HTTP/1.1 200 ")


def test_the_first_certificate_of_a_file_that_expires_counts(tmp_path: Path) -> None:
    authority, file = trustme.CA(), tmp_path / "chain.pem"
    for day in (datetime(2031, 5, 1, 10, 20, 30, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)):
        authority.issue_cert("127.0.0.1", not_after=day).cert_chain_pems[0].write_to_path(file, append=True)
        assert datetime.fromtimestamp(expires(file), UTC) == day
    authority.cert_pem.write_to_path(file, append=True)
    assert datetime.fromtimestamp(expires(file), UTC) == datetime(2030, 1, 2, tzinfo=UTC)


def test_years_from_2050_on_are_written_otherwise(tmp_path: Path) -> None:
    """RFC 5280, 4.1.2.5."""
    file, day = tmp_path / "long.pem", datetime(2077, 12, 31, 23, 59, 59, tzinfo=UTC)
    trustme.CA().issue_cert("127.0.0.1", not_after=day).cert_chain_pems[0].write_to_path(file)
    assert datetime.fromtimestamp(expires(file), UTC) == day


def test_of_what_is_no_certificate_nobody_knows_when_it_expires(tmp_path: Path) -> None:
    file = tmp_path / "none.pem"
    file.write_text("no certificate")
    with pytest.raises(ValueError, match="holds no certificate"):
        expires(file)
    file.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match="cut off"):
        expires(file)
