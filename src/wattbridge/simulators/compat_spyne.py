"""spyne, made to be imported by every Python from 3.11 on; nothing else imports it.

spyne 2.14 is of 2022. The ``six`` it carries hooks into imports in a way that Python 3.12 dropped, and it
asks for the module ``cgi``, which Python 3.13 dropped. Both are mended here, for the time of the import: no
hook and no stand-in stays behind. On older Pythons the same is done, so that there is one way to fail.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

# What spyne imports from within six.moves; anything else it takes as an attribute, which still works.
MOVES = (
    *("", ".collections_abc", ".http_cookies"),
    *(".urllib", ".urllib.parse", ".urllib.error", ".urllib.request"),
)

_importing = threading.Lock()


class NotInstalled(Exception):
    """spyne is not there; the text says how to get it."""


def load_spyne() -> Any:
    """The package ``spyne``, with its SOAP protocols and its WSGI server imported.

    It takes 0.2 s the first time. Raises NotInstalled.
    """
    with _importing:
        found = importlib.util.find_spec("spyne")
        if found is None or not found.submodule_search_locations:
            raise NotInstalled("the simulated SOAP central system needs spyne: pip install '.[simulators]'")
        with warnings.catch_warnings(), _stand_in_for_cgi():
            warnings.simplefilter("ignore")  # its escape sequences are of another time
            _load_six(Path(next(iter(found.submodule_search_locations))))
            import spyne.const.xml
            import spyne.protocol.soap
            import spyne.server.wsgi
        # Whatever it reports is in the answers, or in the witness's problems.
        logging.getLogger("spyne").setLevel(logging.CRITICAL)
        return spyne


def _load_six(package: Path) -> None:
    """Load spyne's six, and what it would find by its hook, before spyne asks for them."""
    name = "spyne.util.six"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, package / "util" / "six.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = list(sys.meta_path)
    six: Any = importlib.util.module_from_spec(spec)
    sys.modules[name] = six
    spec.loader.exec_module(six)
    sys.meta_path[:] = hooks
    for move in MOVES:
        moved = six._importer.known_modules[f"{name}.moves{move}"]
        sys.modules[f"{name}.moves{move}"] = moved._resolve() if isinstance(moved, six.MovedModule) else moved


@contextlib.contextmanager
def _stand_in_for_cgi() -> Iterator[None]:
    """``import cgi`` gives something that knows ``parse_header``, which is all that spyne uses of it."""
    before = sys.modules.get("cgi")
    stand_in: Any = types.ModuleType("cgi")
    stand_in.parse_header = parse_header
    sys.modules["cgi"] = stand_in
    try:
        yield
    finally:
        del sys.modules["cgi"]
        if before is not None:
            sys.modules["cgi"] = before


def parse_header(line: str) -> tuple[str, dict[str, str]]:
    """A header's value and its parameters: ``a/b; charset="utf-8"`` → ``"a/b", {"charset": "utf-8"}``."""
    message = Message()
    message["Content-Type"] = line
    (value, _), *parameters = message.get_params(failobj=[("", "")])
    return value, dict(parameters)
