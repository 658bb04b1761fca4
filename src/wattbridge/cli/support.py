"""``wattbridge support-dump``: one file of a running gateway for whoever helps."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from wattbridge.cli.asking import DONE, WRONG, Admin, Failed
from wattbridge.config.files import reason_of


def support_dump(admin: str, token_file: str, file: str, *, err: TextIO) -> int:
    """Returns 0, 2 when *file* cannot be written, or what a question to a gateway can come to."""
    try:
        content = Admin(admin, token_file, err).file("support-dump")
        Path(file).write_bytes(content)
    except Failed as failed:
        return failed.code
    except OSError as problem:
        err.write(f"wattbridge: {file}: {reason_of(problem)}\n")
        return WRONG
    err.write(f"ok: {file}; look through it before you give it to somebody\n")
    return DONE
