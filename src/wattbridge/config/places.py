"""Where things are that the configuration need not name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from wattbridge.config.models import Config
from wattbridge.config.values import read_store_url

DATABASE = "wattbridge.db"


def store_path(
    config: Config, file: str | os.PathLike[str], env: Mapping[str, str] | None = None
) -> Path | None:
    """The database of the gateway whose configuration *file* is; None for ``store.url: memory``.

    Unless the configuration says where, it is in the directory that systemd made for the state of the service
    (``StateDirectory=``), or else beside the configuration.
    """
    if config.store.url == "memory":
        return None
    if config.store.url:
        return Path(read_store_url(config.store.url))
    state = (os.environ if env is None else env).get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(state or Path(file).parent) / DATABASE
