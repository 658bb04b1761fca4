"""How commands ask a running gateway: its admin API, with the token, and what its answers come to."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, urlencode, urlsplit

from wattbridge.ocpp.printable import printable

TIMEOUT = 60.0  # seconds; a large fleet takes a while to read a configuration

DONE, REFUSED, WRONG, UNREACHABLE, FORBIDDEN = 0, 1, 2, 3, 4  # exit codes


class Failed(Exception):
    """The command ends here, with this exit code; why has been told."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    status: int  # of HTTP
    content: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.content.get("title", f"HTTP {self.status}"))


class Admin:
    """The admin API at *url*, for whoever has what is in *token_file*; talk goes to *err*."""

    def __init__(self, url: str, token_file: str, err: TextIO) -> None:
        self.url = url
        self._err = err
        self._token = self._read_token(token_file)
        if urlsplit(url).scheme not in ("http", "https"):
            raise self.failed(WRONG, f"--admin {url}: expected a URL such as http://127.0.0.1:9180")

    def failed(self, code: int, problem: str) -> Failed:
        lines = map(printable, problem.split("\n"))
        self._err.write("wattbridge: " + "\n".join(lines) + "\n")
        return Failed(code)

    def ask(
        self, method: str, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> Answer:
        """The answer of a gateway, a negative one too.

        Raises Failed when there is none, or when it does not take the token.
        """
        try:
            with self._open(method, path, query, body) as response:
                answer = Answer(response.status, _object(response.read()))
        except urllib.error.HTTPError as refused:
            answer = Answer(refused.code, _object(refused.read()))
        except (OSError, ValueError) as problem:
            raise self._unreachable(problem) from None
        return self._looked_at(answer)

    def stream(
        self,
        path: str,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
        *,
        method: str = "GET",
    ) -> HTTPResponse:
        """An answer that is no JSON and may be long, to be read and closed; a *timeout* is for each read.

        Raises Failed for a negative answer too.
        """
        try:
            return self._open(method, path, query, None, headers, timeout)
        except urllib.error.HTTPError as refused:
            answer = Answer(refused.code, _object(refused.read()))
        except (OSError, ValueError) as problem:
            raise self._unreachable(problem) from None
        raise self.failed(REFUSED, self._looked_at(answer).title)

    def file(self, path: str) -> bytes:
        """What is made on request, and is no JSON. Raises Failed for a negative answer too."""
        try:
            with self.stream(path, method="POST") as response:
                content: bytes = response.read()
                return content
        except (OSError, ValueError) as problem:
            raise self._unreachable(problem) from None

    def _open(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: dict[str, Any] | None,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> HTTPResponse:
        content = b"" if body is None else json.dumps(body).encode()
        asked = f"?{urlencode(query)}" if query else ""
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/api/v1/{path}{asked}",
            None if method == "GET" else content,
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"} | (headers or {}),
            method=method,
        )
        # Whatever proxy the environment names, the gateway is asked itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        response: HTTPResponse = opener.open(request, timeout=timeout)
        return response

    def _unreachable(self, problem: Exception) -> Failed:
        said = getattr(problem, "reason", problem)
        said = getattr(said, "strerror", None) or said
        return self.failed(UNREACHABLE, f"no gateway at {self.url}: {said}")

    def _looked_at(self, answer: Answer) -> Answer:
        """Raises Failed when it is none of a gateway's, or the token is not taken."""
        if answer.status in (401, 403):
            raise self.failed(FORBIDDEN, f"{self.url} refuses: {answer.title}")
        if not answer.content or (answer.status >= 400 and "title" not in answer.content):
            what = f"what answers at {self.url} is no gateway (HTTP {answer.status})"
            raise self.failed(UNREACHABLE, what)
        return answer

    def get(
        self, method: str, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What a gateway answers; raises Failed for a negative answer too."""
        answer = self.ask(method, path, query, body)
        if answer.status != 200:
            raise self.failed(REFUSED, answer.title)
        return answer.content

    def _read_token(self, file: str) -> str:
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            from wattbridge.config.files import reason_of

            said = reason_of(problem) if isinstance(problem, OSError) else "is not UTF-8 text"
            raise self.failed(WRONG, f"token file {file}: {said}") from None
        if not token or not token.isascii() or not token.isprintable():
            raise self.failed(WRONG, f"token file {file} holds no token")
        return token


def path_of(*parts: str | int) -> str:
    """``queue/CP%2F1/17``: each part may have a slash in it."""
    return "/".join(quote(str(part), safe="") for part in parts)


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
