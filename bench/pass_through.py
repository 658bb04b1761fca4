"""Charge points and central systems of one transport, and JSON charge points with a SOAP central system.

Beside pass-through stands what passes messages on unread: a relay of WebSockets on the same library, and a
reverse proxy on the same HTTP listener and client. What is checked on the way is tried in all three ways.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.gateways import Effort, Gateway, Gateways, Seen, details, figures, upstream
from bench.measure import Figure, Row

GROUP = "pass-through"
FROM_JSON_GROUP = "json to soap"
CHECKS = ("off", "report", "refuse")


class Pairs:
    """One process of ours for all pairs of transports, where the identity tells the route; and the others."""

    def __init__(self, gateways: Gateways) -> None:
        self._gateways = gateways
        where = gateways.where
        soap = {"callback_url": "http://127.0.0.1/ocpp/cp/{charger}"}  # which nobody calls here
        sections = {
            "upstreams": {
                "json": upstream(f"{where['central_system']}/ours/{{charger}}"),
                "soap": upstream(where["soap_central_system"]) | {"soap": soap},
            },
            "routes": [
                {"name": f"{name}-{check}", "match": {"charger": f"{name}-{check}-*"}}
                | {"upstream": name, "check": check}
                for name in ("json", "soap")
                for check in CHECKS
            ]
            + [{"name": "translated", "match": "any", "upstream": "soap"}],
        }
        self._ours, self._port = gateways.start_ours("ours", sections)
        self._processes = [self._ours]

    def rows(self, effort: Effort) -> Iterator[Row]:
        """CPU for each exchange that passes, with every check."""
        where = self._gateways.where
        relay, relay_port = self._gateways.start_other("plain", "relay", f"{where['central_system']}/relay")
        proxy, proxy_port = self._gateways.start_other("plain", "proxy", where["soap_central_system"])
        json = [self._checking("json", check) for check in CHECKS]
        json.append(Gateway("relay", relay, relay_port, "/{identity}", "json"))
        soap = [self._checking("soap", check) for check in CHECKS]
        soap.append(Gateway("proxy", proxy, proxy_port, "/ocpp/cs"))
        for pair, plain, gateways in (("JSON → JSON", "relay", json), ("SOAP → SOAP", "proxy", soap)):
            for name, seen in self._measured(gateways, effort):
                for check in CHECKS:
                    both = {"ours": seen[f"{pair[:4].lower()}-{check}"], "floor": seen[plain]}
                    cpu = figures(both, "cpu_us")
                    yield Row(GROUP, f"{name} {pair}, check {check}", "µs", cpu, details=details(both))

    def translated_rows(self, effort: Effort) -> Iterator[Row]:
        """CPU for each exchange of a JSON charge point with a SOAP central system."""
        central_system = self._gateways.where["soap_central_system"]
        gateways = [Gateway("ours", self._ours, self._port, "/ocpp/{identity}", "json", "CP-")]
        for variant in ("floor", "naive"):
            kind = ("plain", "post") if variant == "floor" else ("naive_json_gateway",)
            module, *arguments = kind
            process, port = self._gateways.start_other(module, *arguments, central_system)
            gateways.append(Gateway(variant, process, port, "/{identity}", "json"))
        for name, seen in self._measured(gateways, effort):
            cpu = figures(seen, "cpu_us")
            yield Row(FROM_JSON_GROUP, f"{name} JSON → SOAP", "µs", cpu, details=details(seen))

    def memory_row(self, count: int) -> Row:
        """KiB for each of *count* idle sessions of JSON charge points: both WebSockets are counted."""
        central_system = self._gateways.where["central_system"]
        relay, relay_port = self._gateways.start_other("plain", "relay", f"{central_system}/floor")
        ours = self._checking("json", "report")
        floor = Gateway("floor", relay, relay_port, "/{identity}", "json")
        sizes = {
            variant: Figure(self._gateways.memory_of_session(gateway, count), 0.0)
            for variant, gateway in (("ours", ours), ("floor", floor))
        }
        return Row("memory", f"one idle session of {count}, a JSON charge point", "KiB", sizes)

    def _checking(self, name: str, check: str) -> Gateway:
        path = "/ocpp/{identity}" if name == "json" else "/ocpp/cs"
        transport = "json" if name == "json" else "soap"
        variant = f"{name}-{check}"
        return Gateway(variant, self._ours, self._port, path, transport, f"{variant}-")  # type: ignore[arg-type]

    def _measured(
        self, gateways: list[Gateway], effort: Effort
    ) -> Iterator[tuple[str, dict[str, list[Seen]]]]:
        self._gateways.watch_others({gateway.process for gateway in gateways})
        for gateway in gateways:
            self._gateways.connect(gateway, effort.clients)
        for name in effort.scenarios:
            yield name, self._gateways.measure(gateways, name, effort)
