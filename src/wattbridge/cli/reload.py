"""``wattbridge reload``: ask a running gateway to read its configuration again."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

TIMEOUT = 60.0  # seconds; a large fleet takes a while to read

DONE, REFUSED, WRONG, UNREACHABLE, FORBIDDEN = 0, 1, 2, 3, 4


def reload(admin: str, token_file: str, *, check: bool, move: bool, out: TextIO, err: TextIO) -> int:
    """Returns 0, 1 when the new configuration is wrong, 3 when no gateway answers, 4 when it refuses us."""
    try:
        token = Path(token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        from wattbridge.config.files import reason_of

        said = reason_of(problem) if isinstance(problem, OSError) else "is not UTF-8 text"
        err.write(f"wattbridge: token file {token_file}: {said}\n")
        return WRONG
    if not token or not token.isascii() or not token.isprintable():
        err.write(f"wattbridge: token file {token_file} holds no token\n")
        return WRONG
    path = "check" if check else "reload"
    url = f"{admin.rstrip('/')}/api/v1/config/{path}{'?move=1' if move and not check else ''}"
    if urlsplit(url).scheme not in ("http", "https"):
        err.write(f"wattbridge: --admin {admin}: expected a URL such as http://127.0.0.1:9180\n")
        return WRONG
    status, answer = _post(url, token)
    if status == 0:
        err.write(f"wattbridge: no gateway at {admin}: {answer['title']}\n")
        return UNREACHABLE
    if status in (401, 403):
        err.write(f"wattbridge: {admin} refuses: {answer.get('title', status)}\n")
        return FORBIDDEN
    if "changed" not in answer and "title" not in answer:
        err.write(f"wattbridge: what answers at {admin} is no gateway (HTTP {status})\n")
        return UNREACHABLE
    if status != 200:
        _tell(answer.get("errors", []), err)
        err.write(f"wattbridge: {answer['title']}; the old configuration stays\n")
        return REFUSED
    _tell(answer["warnings"], err)
    for changed in answer["changed"]:
        out.write(f"{changed}\n")
    would = "would change" if check else "changed"
    out.write(f"ok: {_counted(len(answer['changed']), 'value')} {would}")
    out.write(f", {_counted(answer['moved'], 'session')} moved\n" if move and not check else "\n")
    return DONE


def _post(url: str, token: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer; status 0 when there was none."""
    request = urllib.request.Request(url, b"", {"Authorization": f"Bearer {token}"}, method="POST")
    # Whatever proxy the environment names, the gateway is asked itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            return response.status, _object(response.read())
    except urllib.error.HTTPError as refused:
        return refused.code, _object(refused.read())
    except (OSError, ValueError) as problem:
        said = getattr(problem, "reason", problem)
        return 0, {"title": getattr(said, "strerror", None) or str(said)}


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _tell(problems: list[dict[str, Any]], err: TextIO) -> None:
    from wattbridge.config import Problem

    for problem in problems:
        err.write(f"{Problem(**problem)}\n")
