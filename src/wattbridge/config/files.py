"""Reading files that an operator names: never more than needed, and with an error people understand."""

from __future__ import annotations

from pathlib import Path

from wattbridge.config.values import write_size


def read_limited(path: Path, limit: int) -> str:
    try:
        file = path.open("rb")
    except ValueError:  # NUL in the path
        raise OSError("no file has such a name") from None
    with file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"is larger than {write_size(limit)}")
    return content.decode("utf-8-sig")


def reason_of(problem: OSError) -> str:
    known = {
        FileNotFoundError: "no such file",
        IsADirectoryError: "is a directory",
        PermissionError: "may not be read (permission denied)",
    }
    return known.get(type(problem)) or problem.strerror or str(problem)
