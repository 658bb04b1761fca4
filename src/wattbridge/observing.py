"""What is seen of a gateway from outside besides what its journal tells: each charge point's state, the
certificates of its configuration, and which source it is made of.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from wattbridge.config import Config
from wattbridge.fleet import Fleet
from wattbridge.links import tls
from wattbridge.operation.metrics import ChargePointState
from wattbridge.relay.registry import Registry
from wattbridge.relay.routes import Heard

REVISION_VARIABLE = "WATTBRIDGE_REVISION"  # set where an image is built


def revision() -> str:
    """The revision of the source that runs here, ``unknown`` where nobody has said."""
    if said := os.environ.get(REVISION_VARIABLE, ""):
        return said[:40]
    with suppress(PackageNotFoundError, ValueError):
        # What was installed from a repository says which commit it was (PEP 610).
        installed = json.loads(distribution("wattbridge").read_text("direct_url.json") or "{}")
        return str(installed.get("vcs_info", {}).get("commit_id", ""))[:40] or "unknown"
    return "unknown"


def certificate_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Every file of certificates in the configuration, by where it is named: ``listeners.soaps``,
    ``listeners.soaps.client_ca``, ``upstreams.cloud.ca``, ``upstreams.cloud.client``, ``admin``."""
    for name, listener in config.listeners.items():
        if listener.tls is not None:
            yield f"listeners.{name}", listener.tls.certificate
            if listener.tls.client_ca is not None:
                yield f"listeners.{name}.client_ca", listener.tls.client_ca
    others = [(f"upstreams.{name}", section.tls) for name, section in config.upstreams.items()]
    for name, section in [*others, ("callbacks", config.callbacks.tls)]:
        if section.ca is not None:
            yield f"{name}.ca", section.ca
        if section.certificate is not None:
            yield f"{name}.client", section.certificate
    if config.admin is not None and config.admin.tls is not None:
        yield "admin", config.admin.tls.certificate


def expirations(config: Config) -> dict[str, float]:
    """When each of them expires, in seconds since the epoch; of a file with several, the first that does.

    What cannot be read is left out.
    """
    found = {}
    for name, file in certificate_files(config):
        with suppress(OSError, ValueError):
            found[name] = tls.expires(file)
    return found


def charge_points(registry: Registry, fleet: Fleet) -> Iterator[ChargePointState]:
    """Every charge point that is listed, and then every other one that has a session."""
    ahead = time.time() - time.monotonic()
    identities = dict.fromkeys((*fleet.listed, *registry.identities()))
    for identity in identities:
        session, heard = registry.find(identity), registry.last_heard(identity)
        known = registry.heard_of(identity) or Heard(identity)
        yield ChargePointState(
            identity,
            up=session is not None and not registry.is_stale(session),
            heard=None if heard is None else ahead + heard,
            vendor=known.vendor or "",
            model=known.model or "",
            firmware=known.firmware or "",
            profile=session.profile if session else "",
            route=session.route if session else "",
        )
