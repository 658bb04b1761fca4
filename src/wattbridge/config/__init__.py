"""The configuration: one file → frozen models, or everything that is wrong with it at once.

``load`` is the way in. The models are in ``models.py``, the words a file is made of in ``values.py`` and
``kinds.py``, the reading of YAML, JSON and TOML in ``tree.py``.
"""

from wattbridge.config.models import (
    Auth,
    Backoff,
    Basic,
    Callbacks,
    ChargePoint,
    Config,
    Connect,
    Gateway,
    Limits,
    Listener,
    Logging,
    Match,
    Metrics,
    Ping,
    Route,
    Sessions,
    Time,
    Tls,
    Upstream,
    json_schema,
)
from wattbridge.config.reading import ConfigErrors, Loaded, Problem, load, read_text
from wattbridge.config.values import Bind, Network

__all__ = [
    "Auth",
    "Backoff",
    "Basic",
    "Bind",
    "Callbacks",
    "ChargePoint",
    "Config",
    "ConfigErrors",
    "Connect",
    "Gateway",
    "Limits",
    "Listener",
    "Loaded",
    "Logging",
    "Match",
    "Metrics",
    "Network",
    "Ping",
    "Problem",
    "Route",
    "Sessions",
    "Time",
    "Tls",
    "Upstream",
    "json_schema",
    "load",
    "read_text",
]
