"""Where the store is when the configuration says it, and when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattbridge.config import read_text
from wattbridge.config.places import store_path

FILE = """\
listeners: {{field: {{bind: "127.0.0.1:0"}}}}
upstreams: {{cloud: {{url: "ws://127.0.0.1/n"}}}}
chargers: {{CP3211: {{}}}}
store: {{{store}}}
"""


@pytest.mark.parametrize(
    ("store", "state", "where"),
    [
        ("", "", "/etc/wattbridge/wattbridge.db"),
        ("", "/var/lib/wattbridge", "/var/lib/wattbridge/wattbridge.db"),
        ("", "/var/lib/wattbridge:/var/lib/more", "/var/lib/wattbridge/wattbridge.db"),
        ("url: sqlite:///state.db", "/var/lib/wattbridge", "/etc/wattbridge/state.db"),
        ("url: sqlite:////srv/state.db", "/var/lib/wattbridge", "/srv/state.db"),
        ("url: memory", "/var/lib/wattbridge", None),
    ],
)
def test_the_store_is_where_it_was_put_or_where_state_is_kept(
    store: str, state: str, where: str | None
) -> None:
    file = Path("/etc/wattbridge/gateway.yaml")
    config = read_text(FILE.format(store=store), str(file), folder=file.parent).config
    path = store_path(config, file, {"STATE_DIRECTORY": state})
    assert path == (None if where is None else Path(where))
