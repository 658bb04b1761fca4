"""spyne can be imported, by whatever Python runs this, and leaves nothing behind that others stumble over.

Each import takes place in a process of its own, for a module is imported once.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wattbridge.simulators import compat_spyne


def run(program: str) -> str:
    """What a program prints that turns warnings into errors."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.strip()


def test_spyne_is_imported_with_what_the_central_system_needs() -> None:
    assert run(
        "from wattbridge.simulators.compat_spyne import load_spyne\n"
        "spyne = load_spyne()\n"
        "assert spyne is load_spyne()\n"
        "print(spyne.protocol.soap.Soap12.__name__, spyne.server.wsgi.WsgiApplication.__name__)"
    ) == ("Soap12 WsgiApplication")


def test_no_import_hook_and_no_stand_in_stays_behind() -> None:
    assert run(
        "import sys\n"
        "from wattbridge.simulators.compat_spyne import load_spyne\n"
        "hooks = list(sys.meta_path)\n"
        "load_spyne()\n"
        "print(sys.meta_path == hooks, 'cgi' in sys.modules)"
    ) == ("True False")


def test_a_module_cgi_that_was_there_is_there_again() -> None:
    assert run(
        "import sys, types\n"
        "sys.modules['cgi'] = there = types.ModuleType('cgi')\n"
        "from wattbridge.simulators.compat_spyne import load_spyne\n"
        "load_spyne()\n"
        "print(sys.modules['cgi'] is there)"
    ) == ("True")


def test_it_can_be_imported_by_name_afterwards() -> None:
    assert run(
        "from wattbridge.simulators.compat_spyne import load_spyne\n"
        "load_spyne()\n"
        "from spyne import Application, Unicode\n"
        "from spyne.util.six.moves.urllib.parse import quote\n"
        "print(Application.__name__, quote('a b'))"
    ) == ("Application a%20b")


def test_without_spyne_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(compat_spyne.__file__).parent)])
    monkeypatch.setattr(
        sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "spyne"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(compat_spyne.NotInstalled, match=r"needs spyne: pip install '\.\[simulators\]'"):
        compat_spyne.load_spyne()


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("text/xml", ("text/xml", {})),
        ('text/xml; charset="utf-8"', ("text/xml", {"charset": "utf-8"})),
        (
            'application/soap+xml;charset=utf-8; action="/Heartbeat"',
            ("application/soap+xml", {"charset": "utf-8", "action": "/Heartbeat"}),
        ),
        ("", ("", {})),
    ],
)
def test_a_header_is_read_as_cgi_read_it(line: str, read: tuple[str, dict[str, str]]) -> None:
    assert compat_spyne.parse_header(line) == read
