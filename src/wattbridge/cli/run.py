"""``wattbridge run``: the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from wattbridge.cli.check import write_problems
from wattbridge.config import ConfigErrors, Loaded, load, read_text


def run(file: str | None, overrides: Sequence[str], *, exit_when_ready: bool, err: TextIO) -> int:
    """Returns 2 when the configuration cannot be used, else what the gateway returns."""
    read = partial(load, file, overrides=overrides)
    try:
        loaded = read()
    except ConfigErrors as errors:
        write_problems(errors.problems, err)
        return 2
    write_problems(loaded.warnings, err)
    from wattbridge import app

    def read_as_if(text: str) -> Loaded:
        return read_text(text, loaded.file, folder=Path(loaded.file).parent, overrides=overrides)

    return app.run(loaded, read, read=read_as_if, exit_when_ready=exit_when_ready)
