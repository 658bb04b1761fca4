"""``docs/reference/configuration.md``, made from the models so that it cannot say anything else than they do.

wattbridge config reference > docs/reference/configuration.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_core import PydanticUndefined

from wattbridge.config.kinds import Kind
from wattbridge.config.models import Config, Entries, Items, Match, Shape, keys_of, shape_of
from wattbridge.config.sections import Section

# The shortest file that runs: who is listened to, and who is called.
SMALLEST = """\
gateway: {unknown: accept}
listeners:
  soap:
    bind: 0.0.0.0:8080
    allow: [10.20.0.0/16]
upstreams:
  cloud:
    url: wss://csms.example.com/ocpp/{charger}
"""

# Every section once; the tests read it, and see that nothing is missing.
EXAMPLE = """\
# yaml-language-server: $schema=./gateway.schema.json
version: 1

gateway:
  name: depot-north
  public_url: https://gw.example.net:8443
  drain: 30s
  unknown: refuse                # or accept: charge points that are not under `chargers`
  reload: yes

listeners:
  field:                         # charge points that speak SOAP, and charge points that speak JSON
    bind: 0.0.0.0:8443
    protocol: any
    versions: ["1.6", "1.5", "1.2"]
    paths: [/ocpp/cs, "/ocpp/{charger}", /steve/services/CentralSystemService]
    tls: {certificate: certs/gw.pem, key: certs/gw.key, client_ca: certs/ca.pem, client_auth: optional}
    limits:
      body: 256KiB
      connections: 2000
      connections_per_source: 64
      header_timeout: 10s
      body_timeout: 10s
      idle: 75s
      handshakes: 64
      handshake_rate: 100/s
      max_frame: 256KiB
    allow: [10.20.0.0/16]        # nothing here: from anywhere
  inside:                        # where the old central system calls
    bind: 10.30.0.5:8081
    paths: []

upstreams:
  cloud:
    url: wss://csms.example.com/ocpp/{charger}
    protocol: ocpp-json          # as the URL says
    auth:
      basic: {username: "{charger}", password: {env: CSMS_PASSWORD}}
    connect:
      timeout: 10s
      backoff: {first: 1s, max: 2m, jitter: 1.0}
      rate: 50/s
    ping: {every: 30s, timeout: 20s}
    call_timeout: 30s
    subprotocol: ocpp1.6
    compression: false
    celsius: Celsius
    tls: {ca: certs/ca.pem, verify: true, certificate: certs/gw.pem, key: certs/gw.key}
    max_frame: 256KiB
    probe: {every: 10s, timeout: 5s}
  old:                           # a central system that speaks SOAP only
    url: https://old.example.com/services/CentralSystemService
    soap:
      callback_path: /ocpp/cp/{charger}
      listener: inside
      networks: [10.30.0.0/24]
      callback_url: http://10.30.0.5:8081/ocpp/cp/{charger}
      to: https://old.example.com/services/CentralSystemService
      ocpp: "1.6"
      security_events: record
      version: "1.2"
      addressing: 2005/08
      from: yes
      must_understand: yes
      connections: 8
      answer_within: 25s
  audit:
    url: ws://127.0.0.1:9000/    # /{charger} is appended

routes:                          # the first match wins, the last must match all
  - name: moved-sites
    match: {charger: ["BER-*", "HAM-00[0-9]"]}
    upstream: cloud
    fallback: old
    failover: {after: 30s, back_after: 60s, shared: no}
    mirror: [audit]
    mirror_queue: 1000
    identity: {rewrite: "^(BER|HAM)-", to: "DE*ABC*\\\\1*"}
    check: report
    offline: {authorize: none, start_transaction: provisional, boot_notification: last, late_refusal: record}
    subprotocol: optional
    profile: acme-cc1
  - name: first-firmware
    match:                       # all of it must hold
      vendor: ACME
      model: [CC-1*, CC-2]
      firmware: "<1.4"
      source: 10.20.0.0/16
      listener: field
      known: yes
    upstream: old
  - name: not-ours
    match: {charger: ["TEST-*"]}
    reject: {boot_status: Rejected, interval: 1h, error: SecurityError, description: not served here}
  - name: all
    match: any
    upstream: cloud

chargers:
  "0012345":
    callback_url: http://10.20.4.17:8090/ocpp
    zone: Europe/Berlin
    to: http://10.20.4.17:8090/ocpp
    password: {env: CP_0012345}
    upstream_password: {env: CSMS_0012345}
    ping: {every: 60s, timeout: 30s}
    profile: acme-cc1
  BER-0001:                      # known, and nothing more to say

profiles:                        # what makes of charge points do otherwise than OCPP says
  acme-cc1:
    name: acme-cc1               # as its key says
    title: ACME CC-1
    extends: no-addressing       # one that comes with the gateway
    products:
      - {vendor: ACME, model: [CC-1*, CC-2]}
    firmware: "<1.4"
    evidence: [a trace of the pilot in Berlin]
    requirements: [update to 1.4 where that is possible]
    rewrite: no
    time: {zone: Europe/Berlin, precision: milliseconds, z: utc}
    soap: {prefix: ns1, from: address, reply_to: yes, must_understand: yes, to: called, fault_status: 200}
    websocket: {subprotocol: optional, also: [ocpp16], ping: {every: 5m, timeout: 30s}}
    calls: {timeout: 45s, retries: 2, retry_after: 1s, answered_here: [GetConfiguration]}
    text: {truncate: [chargePointModel, firmwareVersion]}
    values:
      unit: {Kwh: kWh}
    unknown:
      StatusNotification.errorCode: {becomes: OtherError, keep: [vendorErrorCode, info]}
    defaults:
      BootNotification.chargePointVendor: ACME
    aliases:
      - {action: BootNotification, part: response, field: interval, as: heartbeatInterval, instead: no}
    fields:
      - action: MeterValues
        part: request
        when: {context: Sample.Clock, unit: [Wh, ]}
        drop: [sampledValue]
      - {action: SetChargingProfile, set: {stackLevel: "0"}, scale: {limit: 1000}}
    samples:
      - title: an unknown error is kept
        in: '[2,"1","StatusNotification",{"connectorId":1,"status":"Faulted","errorCode":"E7"}]'
        out: >-
          [2,"1","StatusNotification",
          {"connectorId":1,"status":"Faulted","errorCode":"OtherError","vendorErrorCode":"E7"}]
        quirks: [profile-fallback, profile-kept]
      - title: an error goes with 200
        action: Heartbeat
        in: '[4,"1","InternalError","",{}]'
        out: '[4,"1","InternalError","",{}]'
        status: 200
        answered_here: no
      - {title: its subprotocol is served, offers: [ocpp16], serves: yes}

callbacks:
  template: "http://{source_ip}:8090/"
  networks: [10.20.0.0/16]
  timeout: 30s
  connect_timeout: 5s
  answer: 256KiB
  tls: {ca: certs/ca.pem, verify: true, certificate: certs/gw.pem, key: certs/gw.key}

websocket:                       # the WebSockets of charge points
  ping: {every: 60s, timeout: 30s}
  unanswered: 3
  call_timeout: 30s
  takeover: 3s
  compression: no

sessions: {alive: 3, heartbeat: 300s, most: 20000, linger: 10s}

offline:                         # while a central system is away
  answer: {authorize: cached, start_transaction: hold, boot_notification: last, late_refusal: stop}
  hold: 20s
  authorizations: 720h
  queue: {per_charger: 2000, per_charger_size: 4MiB, total: 500000, total_size: 1GiB, max_age: 720h}
  rate: 500/s
  attempts: 3
  retry: 10s
  boot_after_restart: no

store:
  url: sqlite:////var/lib/wattbridge/state.db
  replies: 168h
  transactions: 2160h
  history: {age: 72h, size: 256MiB, redact: [idTag, AuthorizationKey]}

time: {zone: UTC, milliseconds: no}
metrics: {bind: 127.0.0.1:9181, per_charger: true, max_chargers: 500}
tracing: {otlp: "http://127.0.0.1:4318", sample: 0.05, charger: true}
admin:
  bind: 127.0.0.1:9180
  token: {env: ADMIN_TOKEN}
  tls: {certificate: certs/gw.pem, key: certs/gw.key}
logging: {level: info, format: console}
"""

_INTRODUCTION = """\
# Configuration reference

<!-- Made by `wattbridge config reference` from the models; a test sees that it is what they say. -->

One file holds the configuration of a gateway: the one given with `-c`, else the one that
`$WATTBRIDGE_CONFIG` names, else `./gateway.yaml`, else `/etc/wattbridge/gateway.yaml`. `wattbridge check`
prints everything that is wrong with it at once, with the place:

```
gateway.yaml:14:5: routes.2.upstream: no upstream 'mian' (did you mean 'main'?)
```

The smallest file that runs:

```yaml
{smallest}```

## How it is written

- The file is YAML; a name that ends in `.json` or `.toml` says otherwise. The sections and keys are the same.
- Scalars are read as texts, and the key says what they mean: `0012345` keeps its zeros, and `no` is a boolean
  only where a boolean belongs.
- A key that is not known, or that is written twice, is an error. Keys with nothing behind them stand for an
  empty mapping or list. Anchors and aliases can be used; tags and merge keys (`<<`) cannot.
- Paths of files are relative to the configuration file.
- Only the order of `routes` matters.
- `--set PATH=VALUE` of `run` and `check` overrides one value: `--set gateway.drain=5s`,
  `--set routes.0.upstream=pilot`, `--set 'listeners.soap.allow=[10.0.0.0/8]'`,
  `--set 'chargers."DE.0012".zone=Europe/Berlin'`.
- `wattbridge config schema` prints a JSON Schema for editors.

| Value | Written as |
|---|---|
| duration | `500ms`, `30s`, `5m`, `24h`, `7d`, `1h30m` |
| size | `512B`, `256KiB`, `1MiB` |
| rate | `50/s`, `10/m`, `100/h` |
| yes or no | `true`, `yes`, `on`; `false`, `no`, `off` |
| secret | `{{env: NAME}}` or `{{file: path}}`; the text itself works too, with a warning |
| host:port | `0.0.0.0:8080`, `[::1]:8080`; port 0 lets the system choose |
| network | `10.20.0.0/16`, `fd00::/8`, `10.20.4.17` |
| time zone | a name of the IANA database: `Europe/Berlin` |
| name | letters, digits, `-`, `_`, `.`; at most 64 |
| identity | the identity of a charge point, exactly as it sends it |
| pattern | `BER-*`, `EVB-P?`, `HAM-00[0-9]`: in identities, upper and lower case are different |
| versions | `<1.4`, `<=`, `>`, `>=`, `==`, `!=`; `>=1.2,<1.4`, which must both hold; or a pattern |
| regular expression | as Python has them: `^EVB-(.*)$` |
| field | the path of a field in a message, or as much of its end as is needed: `sampledValue.unit` |

## Everything once

```yaml
{example}```
"""


def page() -> str:
    """The page, as Markdown."""
    text = _INTRODUCTION.format(smallest=SMALLEST, example=EXAMPLE)
    return text + "".join(_top_level(key) for key in Config.model_fields)


def _top_level(key: str) -> str:
    known = Config.model_fields[key]
    shape = shape_of(known.annotation, known.metadata)
    heading, section = f"`{key}`", shape
    if isinstance(shape, Entries):
        heading, section = f"`{key}.{'IDENTITY' if key == 'chargers' else 'NAME'}`", shape.of
    elif isinstance(shape, Items):
        heading, section = f"`{key}`, each", shape.of
    lines = ["", f"## {heading}", "", known.description or ""]
    rows = _rows(section, "") if isinstance(section, type) else [_row(key, Config, key)]
    lines += ["", "| Key | Value | Default | Meaning |", "|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _rows(section: type[Section], prefix: str) -> Iterator[str]:
    """A row for each key; sections inside are flattened to dotted keys, those in lists and mappings too."""
    for key, known in keys_of(section).items():
        shape = shape_of(known.annotation, known.metadata)
        if isinstance(shape, type):
            if known.default is None:
                yield f"| `{prefix}{key}` | section | – | {known.description} |"
            elif shape is Match:
                yield f"| `{prefix}{key}` | `any`, or section | required | {known.description} |"
            yield from _rows(shape, f"{prefix}{key}.")
        else:
            yield _row(prefix + key, section, key)
            if isinstance(shape, Items | Entries) and isinstance(shape.of, type):
                inside = "[]" if isinstance(shape, Items) else ".FIELD"
                yield from _rows(shape.of, f"{prefix}{key}{inside}.")


def _row(name: str, section: type[Section], key: str) -> str:
    known = keys_of(section)[key]
    shape = shape_of(known.annotation, known.metadata)
    default = "required" if known.is_required() else _spell_default(known.default, shape)
    return f"| `{name}` | {_spell_shape(shape)} | {default} | {known.description} |"


def _spell_shape(shape: Shape) -> str:
    if isinstance(shape, Items):
        return f"list ({_spell_shape(shape.of)})"
    if isinstance(shape, type):
        return "section"
    if isinstance(shape, Kind):
        return f"{shape.name}, {shape.range}" if shape.range else shape.name
    return "mapping"


def _spell_default(default: Any, shape: Shape) -> str:
    if default is None or default is PydanticUndefined:  # the second is worked out from another key
        return "–"
    if isinstance(shape, Items) and isinstance(shape.of, Kind):
        return f"`[{', '.join(map(shape.of.write, default))}]`"
    if isinstance(shape, Kind):
        return f"`{shape.write(default)}`"
    return "`[]`" if default == () else f"`{default}`"
