"""What is seen of a central system on the way to it, up to the step that fails."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from shutil import which

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.config.certificates import AUTHORITY, CERTIFICATE, KEY
from wattbridge.links.trying import Step, Target, try_central_system

WSDL = """\
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" targetNamespace="urn://Ocpp/Cs/2015/10/">
<service name="CentralSystemService"/></definitions>"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, content in (("gw.pem", CERTIFICATE), ("gw.key", KEY), ("other.pem", AUTHORITY)):
        (tmp_path / name).write_text(content)
    return tmp_path


def make_certificate(folder: Path, name: str, days: int) -> None:
    """``NAME.pem`` and ``NAME.key``, for localhost and without a common name."""
    if which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", str(days), "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
         "-subj", "/O=Nobody", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip


def server_tls(folder: Path, certificate: str = "gw.pem", key: str = "gw.key") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / certificate, folder / key)
    return context


@contextlib.asynccontextmanager
async def websockets_at(
    status: int | None = None,
    *,
    subprotocol: str | None = "ocpp1.6",
    tls: ssl.SSLContext | None = None,
    seen: list[Request] | None = None,
    location: str = "",
) -> AsyncIterator[int]:
    """The port of a JSON central system that answers every handshake with *status*, or takes it."""

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if seen is not None:
            seen.append(request)
        if status is None:
            return None
        response = connection.respond(HTTPStatus(status), "")
        if location:
            response.headers["Location"] = location
        return response

    async def hold(connection: ServerConnection) -> None:
        await connection.wait_closed()

    names = [Subprotocol(subprotocol)] if subprotocol else None
    async with serve(hold, "127.0.0.1", 0, process_request=answer, subprotocols=names, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def http_at(
    answer: bytes | None,
    *,
    tls: ssl.SSLContext | None = None,
    seen: list[str] | None = None,
    silent: bool = False,
) -> AsyncIterator[int]:
    """The port of a server with one answer for everybody; None hangs up, *silent* not even that."""
    connections: list[asyncio.StreamWriter] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            if silent:
                await reader.read()
            head = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(head.decode())
            writer.write(answer or b"")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for writer in connections:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def http(status: str, body: str = "", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


def lines(steps: list[Step]) -> list[str]:
    """As they are printed, but for the time TCP took and the days that are left."""
    return [f"{step.name} {step.verdict}: {step.text.rpartition(', in ')[0] or step.text}" for step in steps]


class TestWebSockets:
    async def test_a_handshake_with_the_subprotocol_is_well(self) -> None:
        seen: list[Request] = []
        async with websockets_at(seen=seen) as port:
            target = Target(f"ws://127.0.0.1:{port}/ocpp/CP1", username="CP1", password=b"geheim")
            steps = await try_central_system(target)
        assert lines(steps) == [
            f"TCP ok: connected to 127.0.0.1, port {port}",
            "WebSocket ok: HTTP 101, subprotocol ocpp1.6",
        ]
        [request] = seen
        assert request.path == "/ocpp/CP1"
        assert request.headers["Authorization"] == "Basic Q1AxOmdlaGVpbQ=="
        assert request.headers["Sec-WebSocket-Protocol"] == "ocpp1.6"

    async def test_without_a_password_none_is_sent(self) -> None:
        seen: list[Request] = []
        async with websockets_at(seen=seen) as port:
            await try_central_system(Target(f"ws://127.0.0.1:{port}/CP1"))
        assert "Authorization" not in seen[0].headers

    @pytest.mark.parametrize(
        ("status", "text"),
        [
            (
                401,
                "HTTP 401 Unauthorized: it wants another user name or password (auth.basic, or "
                "upstream_password of the charge point)",
            ),
            (
                404,
                "HTTP 404 Not Found: it does not know this charge point, or the path of the URL is wrong",
            ),
            (503, "HTTP 503 Service Unavailable: it is not ready, or overloaded"),
            (418, "HTTP 418 I'm a Teapot"),
        ],
    )
    async def test_a_refusal_is_told_with_what_it_means(self, status: int, text: str) -> None:
        async with websockets_at(status) as port:
            steps = await try_central_system(Target(f"ws://127.0.0.1:{port}/CP1"))
        assert steps[-1] == Step("WebSocket", "refused", text)

    async def test_a_redirect_is_told_and_not_followed(self) -> None:
        async with websockets_at(302, location="wss://elsewhere.example.com/") as port:
            steps = await try_central_system(Target(f"ws://127.0.0.1:{port}/CP1"))
        assert steps[-1] == Step(
            "WebSocket",
            "refused",
            "HTTP 302 Found, to wss://elsewhere.example.com/: write that address if it is the right one",
        )

    async def test_an_answer_without_a_subprotocol_is_none_of_ocpp(self) -> None:
        """OCPP-J 1.6, 3.1.2."""
        async with websockets_at(subprotocol=None) as port:
            steps = await try_central_system(Target(f"ws://127.0.0.1:{port}/CP1"))
        assert steps[-1].verdict == "refused"
        assert steps[-1].text.startswith("HTTP 101, but it names no subprotocol: ocpp1.6 was asked for")

    async def test_what_is_no_websocket_is_told(self) -> None:
        async with http_at(http("200 OK", "hello")) as port:
            assert (await try_central_system(Target(f"ws://127.0.0.1:{port}/CP1")))[-1].text == "HTTP 200 OK"
        async with http_at(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
            steps = await try_central_system(Target(f"ws://127.0.0.1:{port}/CP1"))
        assert (steps[-1].verdict, steps[-1].text[:13]) == ("refused", "no WebSocket:")

    async def test_a_silent_one_is_not_waited_for(self) -> None:
        async with http_at(None, silent=True) as port:
            for scheme, told in (
                ("ws", "WebSocket unreachable: no answer to the handshake within 0.1 s"),
                ("wss", "TLS unreachable: no TLS handshake within 0.1 s"),
                ("http", "WSDL unreachable: no answer within 0.1 s"),
            ):
                steps = await try_central_system(Target(f"{scheme}://127.0.0.1:{port}/CP1", timeout=0.1))
                assert lines(steps)[-1] == told


class TestTcp:
    async def test_nobody_there_is_one_line(self) -> None:
        async with http_at(None) as port:
            pass
        assert await try_central_system(Target(f"wss://127.0.0.1:{port}/CP1")) == [
            Step("TCP", "unreachable", f"no connection to 127.0.0.1:{port}: connection refused")
        ]

    async def test_a_name_without_an_address_is_told(self) -> None:
        [step] = await try_central_system(Target("ws://nobody.invalid/CP1"))
        assert step.verdict == "unreachable"
        assert step.text.startswith("nobody.invalid has no address: ")

    async def test_a_name_is_told_with_its_address(self) -> None:
        async with websockets_at() as port:
            steps = await try_central_system(Target(f"ws://localhost:{port}/CP1"))
        assert lines(steps)[0] == f"TCP ok: connected to localhost (127.0.0.1), port {port}"


class TestTls:
    async def test_a_trusted_certificate_is_named_with_its_days(self, files: Path) -> None:
        async with websockets_at(tls=server_tls(files)) as port:
            target = Target(f"wss://localhost:{port}/CP1", ca=files / "gw.pem")
            steps = await try_central_system(target)
        assert [step.name for step in steps] == ["TCP", "TLS", "WebSocket"]
        assert [step.verdict for step in steps] == ["ok"] * 3
        version, certificate, left = steps[1].text.split(", ")
        assert version.startswith("TLSv1.")
        assert certificate == "certificate CN=localhost"
        days, words = left.split(" ", 1)
        assert int(days) > 300
        assert words == "days left"

    async def test_one_that_is_not_trusted_is_named_too(self, files: Path) -> None:
        async with websockets_at(tls=server_tls(files)) as port:
            steps = await try_central_system(Target(f"wss://localhost:{port}/CP1", ca=files / "other.pem"))
        assert lines(steps)[1:] == [
            "TLS unreachable: its certificate is not trusted: self-signed certificate, "
            "certificate CN=localhost"
        ]

    async def test_one_for_another_name_is_told(self, files: Path) -> None:
        make_certificate(files, "named", days=3)
        async with websockets_at(tls=server_tls(files, "named.pem", "named.key")) as port:
            steps = await try_central_system(Target(f"wss://127.0.0.1:{port}/CP1", ca=files / "named.pem"))
        assert lines(steps)[1:] == [
            "TLS unreachable: its certificate is not trusted: IP address mismatch, certificate is not valid "
            "for '127.0.0.1', certificate for localhost"
        ]

    async def test_unchecked_it_is_still_named(self, files: Path) -> None:
        async with websockets_at(tls=server_tls(files)) as port:
            steps = await try_central_system(Target(f"wss://localhost:{port}/CP1", verify=False))
        assert [step.verdict for step in steps] == ["ok"] * 3
        assert "certificate CN=localhost, not checked (tls.verify is off), " in steps[1].text

    async def test_one_that_ends_soon_is_a_doubt(self, files: Path) -> None:
        make_certificate(files, "soon", days=3)
        async with websockets_at(tls=server_tls(files, "soon.pem", "soon.key")) as port:
            steps = await try_central_system(Target(f"wss://localhost:{port}/CP1", ca=files / "soon.pem"))
        assert [step.verdict for step in steps] == ["ok", "doubt", "ok"]
        assert steps[1].text.endswith(", certificate for localhost, 2 days left")

    async def test_our_own_certificate_is_shown(self, files: Path) -> None:
        context = server_tls(files)
        context.load_verify_locations(files / "gw.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        async with websockets_at(tls=context) as port:
            target = Target(
                f"wss://localhost:{port}/CP1",
                ca=files / "gw.pem",
                certificate=files / "gw.pem",
                key=files / "gw.key",
            )
            assert (await try_central_system(target))[-1].verdict == "ok"
            bare = Target(f"wss://localhost:{port}/CP1", ca=files / "gw.pem")
            assert (await try_central_system(bare))[-1].verdict in ("unreachable", "refused")

    async def test_plain_text_is_no_tls(self) -> None:
        async with websockets_at() as port:
            steps = await try_central_system(Target(f"wss://127.0.0.1:{port}/CP1"))
        assert steps[-1].name == "TLS"
        assert steps[-1].verdict == "unreachable"


class TestSoap:
    async def test_the_description_of_the_service_is_asked_for(self) -> None:
        seen: list[str] = []
        async with http_at(http("200 OK", WSDL), seen=seen) as port:
            target = Target(f"http://127.0.0.1:{port}/cs", username="CP1", password=b"geheim")
            steps = await try_central_system(target)
            await try_central_system(Target(f"http://127.0.0.1:{port}/cs?site=1"))
        assert lines(steps) == [
            f"TCP ok: connected to 127.0.0.1, port {port}",
            "WSDL ok: HTTP 200, a WSDL of CentralSystemService (urn://Ocpp/Cs/2015/10/)",
        ]
        asked = [head for head in seen if head]
        assert asked[0].startswith("GET /cs?wsdl HTTP/1.1\r\n")
        assert "\r\nAuthorization: Basic Q1AxOmdlaGVpbQ==\r\n" in asked[0]
        assert asked[1].startswith("GET /cs?site=1&wsdl HTTP/1.1\r\n")

    async def test_over_tls_too(self, files: Path) -> None:
        async with http_at(http("200 OK", WSDL), tls=server_tls(files)) as port:
            steps = await try_central_system(Target(f"https://localhost:{port}/cs", ca=files / "gw.pem"))
        assert [step.verdict for step in steps] == ["ok"] * 3

    @pytest.mark.parametrize(
        ("answer", "verdict", "text"),
        [
            (
                http("200 OK", "hello"),
                "doubt",
                "HTTP 200, but no WSDL: it begins with b'hello'",
            ),
            (
                http("200 OK", "<html/>"),
                "doubt",
                "HTTP 200, but no WSDL: the root element is html",
            ),
            (
                http("200 OK", WSDL.replace("Central", "Weather").replace("/Cs/", "/X/")),
                "doubt",
                "HTTP 200, a WSDL, but without CentralSystemService: it describes WeatherSystemService",
            ),
            (
                http("405 Method Not Allowed"),
                "doubt",
                "HTTP 405 Method Not Allowed: it does not show its description, so the path cannot be "
                "checked",
            ),
            (
                http("403 Forbidden"),
                "refused",
                "HTTP 403 Forbidden: it knows who asks, and does not let this charge point or this address "
                "in",
            ),
            (
                http("301 Moved Permanently", headers="Location: https://h/cs\r\n"),
                "refused",
                "HTTP 301 Moved Permanently, to https://h/cs: write that address if it is the right one",
            ),
            (
                http("799 Odd"),
                "doubt",
                "HTTP 799: it does not show its description, so the path cannot be checked",
            ),
        ],
    )
    async def test_other_answers_are_told(self, answer: bytes, verdict: str, text: str) -> None:
        async with http_at(answer) as port:
            steps = await try_central_system(Target(f"http://127.0.0.1:{port}/cs"))
        assert (steps[-1].name, steps[-1].verdict, steps[-1].text) == ("WSDL", verdict, text)

    async def test_one_that_hangs_up_is_unreachable(self) -> None:
        async with http_at(None) as port:
            steps = await try_central_system(Target(f"http://127.0.0.1:{port}/cs"))
        assert steps[-1].verdict == "unreachable"
        assert steps[-1].text.startswith("no answer to GET ?wsdl: ")

    async def test_a_description_without_end_is_not_read_to_it(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"
        async with http_at(head + b"<a>" + b" " * 9_000_000) as port:
            steps = await try_central_system(Target(f"http://127.0.0.1:{port}/cs"))
        assert steps[-1].verdict == "doubt"
