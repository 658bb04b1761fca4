"""One charge point, where the gateway serves ``/metrics/chargers`` and Prometheus scrapes it."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.src.parts import (
    GREEN,
    RED,
    YELLOW,
    Query,
    Row,
    console,
    dashboard,
    graph,
    listing,
    number,
    several,
    states,
)

CHARGER = '$here, charger=~"$charger"'


def charge_point() -> Dashboard:
    return dashboard(
        "wattbridge-charge-point",
        "Wattbridge / Charge point",
        "Single charge points. Needs `metrics.per_charger` and that Prometheus scrapes /metrics/chargers.",
        [
            Row(
                "Now",
                [
                    number(
                        "Connected",
                        "Charge points of the selection that have a session.",
                        "short",
                        Query(f"sum(wattbridge_charger_up{{{CHARGER}}})", "connected"),
                        width=8,
                    ),
                    number(
                        "Not connected",
                        "Charge points of the selection that have none.",
                        "short",
                        Query(f"sum(1 - wattbridge_charger_up{{{CHARGER}}})", "not connected"),
                        steps=[(None, GREEN), (1, YELLOW)],
                        width=8,
                    ),
                    number(
                        "Longest silence",
                        "How long ago the most silent charge point of the selection said something.",
                        "s",
                        Query(
                            "time() -"
                            f" min(wattbridge_charger_last_message_timestamp_seconds{{{CHARGER}}} > 0)",
                            "silence",
                        ),
                        steps=[(None, GREEN), (3600, YELLOW), (86400, RED)],
                        width=8,
                    ),
                    listing(
                        "What they are",
                        "As their BootNotification said, and which route and profile that led to.",
                        "short",
                        Query(f"wattbridge_charger_info{{{CHARGER}}}"),
                        {
                            "charger": "Charge point",
                            "vendor": "Vendor",
                            "model": "Model",
                            "firmware": "Firmware",
                            "profile": "Profile",
                            "route": "Route",
                        },
                        width=24,
                        links={"charger": ("Open in the console", "${console}/chargers/${__value.raw}")},
                    ),
                ],
            ),
            Row(
                "Over time",
                [
                    states(
                        "Connected and away",
                        "When each charge point had a session.",
                        Query(f"wattbridge_charger_up{{{CHARGER}}}", "{{charger}}"),
                        [("away", RED), ("connected", GREEN)],
                    ),
                    graph(
                        "Silence",
                        "How long ago each charge point said something.",
                        "s",
                        Query(
                            f"time() - (wattbridge_charger_last_message_timestamp_seconds{{{CHARGER}}} > 0)",
                            "{{charger}}",
                        ),
                        width=12,
                    ),
                ],
            ),
        ],
        several(
            "charger",
            "Charge point",
            'label_values(wattbridge_charger_up{job=~"$job", instance=~"$instance"}, charger)',
        ),
        console(),
        known_by="wattbridge_charger_up",
    )
