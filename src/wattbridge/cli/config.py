"""``wattbridge config``: the format of the configuration file."""

from __future__ import annotations

import json
from typing import TextIO

from wattbridge.config import json_schema


def schema(out: TextIO) -> int:
    out.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0
