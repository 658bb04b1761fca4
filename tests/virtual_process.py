"""A process whose clocks are a number: ``python -m tests.virtual_process MODULE ARGUMENTS``.

Whatever reads a clock of ``time`` in the whole process reads that of one VirtualLoop, also what takes none
from outside, such as a gateway that is built from its configuration. MODULE has ``main(loop, arguments)``.
"""

from __future__ import annotations

import importlib
import sys
import time

from tests.virtual_time import VirtualLoop

EPOCH = 1_790_000_000.0  # 2026-09-21T14:13:20Z


def run(module: str, arguments: list[str]) -> None:
    assert "wattbridge" not in sys.modules, "its modules have bound the clocks already"
    loop = VirtualLoop()
    time.monotonic = loop.time
    time.time = lambda: EPOCH + loop.time()
    importlib.import_module(module).main(loop, arguments)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
