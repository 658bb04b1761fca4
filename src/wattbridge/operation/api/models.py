"""The shapes of what is asked and answered. The OpenAPI document is made of them, and tests hold every answer
against them; answers are built as plain objects, which costs nothing.

Times are RFC 3339 in UTC. A charge point's identity is called ``charger``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["read", "operate", "admin"]
State = Literal["connected", "stale", "offline", "unknown"]
Duty = Literal["ready", "drain", "maint"]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """A problem of RFC 9457."""

    model_config = ConfigDict(extra="allow")

    status: int
    title: str = Field(description="a sentence")
    reason: str = Field(description="a word of the list of reasons")


class Nothing(Shape):
    pass


# --- who asks


class Login(Shape):
    token: str = Field(min_length=1, max_length=1024)


class Me(Shape):
    role: Role
    name: str
    csrf: str = Field(description="what X-CSRF-Token has to be with the cookie; empty without a session")


# --- what runs


class Info(Shape):
    name: str
    version: str
    uptime_seconds: float
    not_ready_because: list[str]
    listeners: dict[str, str]
    metrics: str
    sessions: int


class Present(Shape):
    connected: int = Field(description="those that are there")
    stale: int = Field(description="those that have been silent for longer than they should be")


class UnknownCharger(Shape):
    charger: str
    source: str
    listener: str
    last: str
    count: int
    line: str = Field(description="what would list it in the configuration")


class Calls(Shape):
    per_second: dict[Literal["to_csms", "to_charger"], float]
    spark: list[int] = Field(description="calls in each of the last 60 steps of 10 s")
    failures: dict[str, int] = Field(description="of the last hour, by reason")


class UpstreamState(Shape):
    upstream: str
    protocol: str
    up: bool | None = Field(description="null while no charge point needs it")
    state: Duty = Field(description="what the operator says; maint: nothing goes there")
    sessions: dict[Literal["open", "connecting", "backoff"], int]
    since: str | None


class QueueState(Shape):
    waiting: int
    parked: int
    oldest_seconds: float


class Certificate(Shape):
    name: str = Field(description="where the configuration names it")
    not_after: str | None
    days_left: int | None


class CertificateFile(Certificate):
    file: str


class Attention(Shape):
    kind: str
    text: str
    fix: str
    link: str


class Overview(Shape):
    name: str
    version: str
    uptime_seconds: float
    ready: bool
    not_ready_because: list[str]
    draining: bool
    chargers: dict[str, Present] = Field(description="by what they speak, such as ocpp1.5-soap")
    offline: int
    unknown: list[UnknownCharger]
    calls: Calls
    upstreams: list[UpstreamState]
    queue: QueueState
    open_transactions: int
    certificates: list[Certificate]
    attention: list[Attention]


class Listener(Shape):
    listener: str
    bind: str
    protocol: str
    versions: list[str]
    paths: list[str]
    tls: bool
    soap: str = Field(description="where SOAP messages are posted")
    websocket: str = Field(description="where WebSockets are opened")
    connections: int
    most_connections: int


class Listeners(Shape):
    listeners: list[Listener]


class Upstream(UpstreamState):
    url: str
    routes: list[str]


class Upstreams(Shape):
    upstreams: list[Upstream]


class UpstreamOrder(Shape):
    state: Duty = Field(
        description="ready: as usual; drain: what is connected goes on, nothing is connected anew; maint: "
        "nothing goes there"
    )


class Profile(Shape):
    profile: str
    built_in: bool
    products: list[str]
    sessions: int


class Profiles(Shape):
    profiles: list[Profile]


class Certificates(Shape):
    certificates: list[CertificateFile]


# --- configuration


class Finding(Shape):
    file: str
    line: int | None
    column: int | None
    path: str
    message: str
    severity: Literal["error", "warning"]


class Reloaded(Shape):
    changed: list[str]
    warnings: list[Finding]
    moved: int


class Put(Reloaded):
    dry_run: bool
    etag: str


class Configuration(Shape):
    file: str
    etag: str
    text: str = Field(description="YAML: everything that counts, without secrets")
    effective: dict[str, Any]


# --- routes


class Reject(Shape):
    boot_status: str
    error: str


class Route(Shape):
    route: str
    upstream: str | None
    reject: Reject | None = None
    fallback: str | None = None
    mirrors: list[str] | None = None


class LiveRoute(Route):
    sessions: int


class Routes(Shape):
    routes: list[LiveRoute]


class RouteQuestion(Shape):
    charger: str
    source: str = ""
    listener: str = ""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    known: bool = False


class PassedOver(Shape):
    name: str
    why_not: str


class RouteAnswer(Route):
    known_as: str
    let_in: bool = Field(description="false: it is not listed, and gateway.unknown is refuse")
    passed_over: list[PassedOver]


# --- charge points


class Session(Shape):
    charger: str
    known_as: str
    route: str
    upstream: str
    profile: str | None
    charger_transport: str
    csms_transport: str
    connected: bool
    calls_in_flight: int


class Sessions(Shape):
    sessions: list[Session]
    cursor: str | None = None


class Moved(Session):
    moved: bool


class Forgotten(Shape):
    charger: str
    forgotten: bool


class Charger(Shape):
    charger: str
    charger_dialect: str | None
    vendor: str | None
    model: str | None
    firmware: str | None
    profile: str | None
    route: str
    upstream: str | None
    csms_dialect: str | None
    session: bool
    heard: str | None
    losses: int


class ListedCharger(Charger):
    state: State
    transport: str | None
    last_message: str | None


class Chargers(Shape):
    chargers: list[ListedCharger]
    cursor: str | None = None


class Carried(Shape):
    path: str
    effect: str
    said: str
    source: str


class AnsweredHere(Shape):
    action: str
    said: str
    source: str


class Lost(Shape):
    rule: str
    path: str
    count: int
    last: str | None


class Report(Charger):
    as_is: bool
    towards_csms: list[Carried]
    towards_charger: list[Carried]
    answered_for_charger: list[AnsweredHere]
    answered_for_csms: list[AnsweredHere]
    lost: list[Lost]
    lost_since: str | None


class Reports(Shape):
    reports: list[Report]
    cursor: str | None = None


class Callback(Shape):
    url: str | None
    state: Literal["works", "fails", "not tried", "none"]
    last_error: str


class Connector(Shape):
    connector_id: str
    status: str
    error_code: str
    when: str | None


class Transaction(Shape):
    charger: str
    number: int
    remote_id: int | None
    upstream: str | None
    provisional: bool
    connector_id: str
    id_tag: str
    meter_start: str
    started: str
    stopped: str | None
    state: Literal["open", "stopped", "refused"]


class Transactions(Shape):
    transactions: list[Transaction]
    cursor: str | None = None


class ShownCharger(ListedCharger):
    callback: Callback
    connectors: list[Connector]
    open_transactions: list[Transaction]
    report: Report
    known_as: str
    source: str | None
    listener: str | None
    listed: bool
    boot: dict[str, Any] | None
    last_messages_link: str


class CallbackTest(Shape):
    reachable: bool
    text: str


class OperatorCall(Shape):
    action: str = Field(min_length=1, max_length=50)
    payload: dict[str, Any] = {}


class CallFailure(Shape):
    code: str
    description: str
    reason: str


class CallAnswer(Shape):
    reply: dict[str, Any] | None = None
    error: CallFailure | None = None


class Allow(Shape):
    charger: str
    lines: str = Field(description="YAML")


class ProblemGroup(Shape):
    kind: str
    charger: str | None = Field(description="the one it is about; null when there are several, or none")
    chargers: int = Field(description="charge points that it is about")
    upstream: str | None
    source: str | None
    listener: str | None
    reason: str
    first: str
    last: str
    passed: str | None = Field(description="when it was seen to be over; null while it is not")
    count: int
    text: str = Field(description="the cause in plain words")
    said: str = Field(description="what was said last")
    fix: str
    guide: str | None
    link: str


class Problems(Shape):
    problems: list[ProblemGroup]


# --- what waits


class Waiting(Shape):
    charger: str
    position: int
    action: str
    state: Literal["waiting", "parked"]
    kept: str
    kept_seconds: float
    upstream: str | None
    refusals: int
    problem: str


class Queue(Shape):
    queue: list[Waiting]
    cursor: str | None = None


class WaitingWhole(Waiting):
    payload: dict[str, Any]


class Retried(Shape):
    charger: str
    position: int
    retried: bool


class RemoteId(Shape):
    remote_id: int


# --- operation


class AuditEntry(Shape):
    number: int
    time: str
    who: str
    role: str
    source: str
    request: str
    charger: str | None
    details: Any
    status: int
    result: str


class AuditLog(Shape):
    audit: list[AuditEntry]
    cursor: str | None = None


class Logger(Shape):
    name: str
    level: str
    usual: str
    reverts: str | None = Field(description="when the level is the usual one again")


class Loggers(Shape):
    loggers: list[Logger]


class Level(Shape):
    level: Literal["debug", "info", "warning", "error"]
    for_: str | None = Field(default=None, alias="for", description="when it reverts, such as 10m")
