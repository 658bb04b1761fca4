"""``wattbridge healthcheck``: whether the gateway of this machine is alive, for images without a shell."""

from __future__ import annotations

import http.client
from typing import TextIO
from urllib.parse import urlsplit

from wattbridge.cli.asking import DONE, REFUSED

TIMEOUT = 3.0  # seconds; whoever asks so has a limit of its own
MOST_TOLD = 2000  # bytes of an answer


def healthcheck(url: str | None, file: str | None, *, ready: bool, out: TextIO, err: TextIO) -> int:
    """Returns 0 when the gateway at *url*, or where the configuration in *file* says, is well; else 1."""
    if url is None:
        from wattbridge.config import metrics_bind

        host, port = metrics_bind(file)
        # Where it listens on every address it listens on this one.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    else:
        asked = urlsplit(url)
        host, port = asked.hostname or "127.0.0.1", asked.port or 9181
    page = "/readyz" if ready else "/livez"
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", page)
        response = connection.getresponse()
        status, told = response.status, response.read(MOST_TOLD).decode(errors="replace")
    except (OSError, http.client.HTTPException) as problem:
        said = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        err.write(f"wattbridge: no gateway at {host} port {port}: {said[:1].lower()}{said[1:]}\n")
        return REFUSED
    finally:
        connection.close()
    if status == 200:
        out.write("ok\n")
        return DONE
    causes = [line for line in told.splitlines() if line.isprintable()] if status == 503 else []
    for cause in causes or [f"{page} answers with HTTP {status}"]:
        err.write(f"wattbridge: {cause}\n")
    return REFUSED
