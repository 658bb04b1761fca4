"""The command line: which commands there are, with which options, and what their help says.

Each command does its work in a module of its own, imported when it is called: nothing here may import more
than typer, so that ``wattbridge --help`` is there at once. Data goes to standard output, talk to standard
error. Exit codes: 0 is well, 1 is a negative answer, 2 is wrong usage or a wrong configuration, 3 is
somebody or something that cannot be reached, 4 is somebody who refuses.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TextIO, cast
from urllib.parse import urlsplit

import typer

app = typer.Typer(
    name="wattbridge",
    help="Connect charge points and central systems of OCPP 1.6, 1.5 and 1.2, whichever of SOAP and JSON "
    "each of them speaks.",
    epilog="New here? `wattbridge demo` shows it at work and needs no setup.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
simulate_app = typer.Typer(
    help="Simulated charge points and central systems, to talk to without any hardware.",
    no_args_is_help=True,
)
config_app = typer.Typer(help="About the format of the configuration file.", no_args_is_help=True)
routes_app = typer.Typer(help="About which charge point goes where.", no_args_is_help=True)
profile_app = typer.Typer(
    help="What makes of charge points do otherwise than OCPP says, and what is done about it.",
    no_args_is_help=True,
)
dashboards_app = typer.Typer(
    help="Dashboards of Grafana, rules and alerts of Prometheus, as files.", no_args_is_help=True
)
store_app = typer.Typer(help="About what is remembered over a restart.", no_args_is_help=True)
queue_app = typer.Typer(help="Messages a gateway keeps for its central systems.", no_args_is_help=True)
transactions_app = typer.Typer(
    help="Transactions a gateway knows, with both their numbers.", no_args_is_help=True
)
trace_app = typer.Typer(
    help="What a gateway carries: messages as they happen, as they were, and as captures.",
)
admin_app = typer.Typer(help="About who may ask a gateway, and who did what.", no_args_is_help=True)
chargers_app = typer.Typer(help="Charge points a gateway knows, and what is lost.", no_args_is_help=True)
upstreams_app = typer.Typer(
    help="Central systems of a gateway, taken out of service and back.", no_args_is_help=True
)


ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration: YAML, or JSON or TOML by suffix. Without it, $WATTBRIDGE_CONFIG, "
        "./gateway.yaml or /etc/wattbridge/gateway.yaml.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override one value, such as gateway.drain=5s. May be given more than once.",
        show_default=False,
    ),
]
Soap = Annotated[bool, typer.Option("--soap", help="Speak OCPP over SOAP.")]
Json = Annotated[bool, typer.Option("--json", help="Speak OCPP 1.6 over JSON, on a WebSocket.")]
Ocpp = Annotated[
    str, typer.Option("--ocpp", metavar="1.6|1.5|1.2", help="Which OCPP; the older two only over SOAP.")
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="text|json", help="A line for people or an object for programs."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no exchanges, only what they come to.")]
For = Annotated[
    str | None,
    typer.Option("--for", metavar="DURATION", help="Stop after this time: 20s, 5m.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Report = Annotated[
    str, typer.Option("--output", "-o", metavar="text|json", help="A table for people or JSON for programs.")
]
AdminUrl = Annotated[
    str,
    typer.Option(
        "--admin", metavar="URL", envvar="WATTBRIDGE_ADMIN", help="The admin address of the gateway."
    ),
]
TokenFile = Annotated[
    str,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="WATTBRIDGE_TOKEN_FILE",
        help="The file with the token, as `admin.token` names it.",
    ),
]
Charger = Annotated[str, typer.Argument(metavar="CHARGER", hidden=True)]
UpstreamName = Annotated[str, typer.Argument(metavar="NAME", hidden=True)]
Position = Annotated[int, typer.Argument(metavar="POSITION", hidden=True, min=0)]
Number = Annotated[int, typer.Argument(metavar="NUMBER", hidden=True)]
OfCharger = Annotated[
    str | None,
    typer.Option("--charger", metavar="ID", help="Only those of this charge point.", show_default=False),
]
Limit = Annotated[int, typer.Option("--limit", metavar="NUMBER", min=1, help="At most so many.")]
Wanted = Annotated[
    str,
    typer.Option("--filter", metavar="EXPR", help="Only these: 'charger:BER-* status:timeout since:10m'."),
]
Legs = Annotated[
    str,
    typer.Option(
        "--legs", metavar="both|charger|csms", help="Of oot: the messages of both parties, or of one of them."
    ),
]
TraceId = Annotated[str, typer.Argument(metavar="ID", hidden=True)]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show idTags whole.")]

_NEGATIVE_NUMBERS = {"ignore_unknown_options": True}  # -1 is one, and no option
ADMIN, TOKEN = "http://127.0.0.1:9180", "admin-token"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that *arguments* (or those of the process) name, and exit with its code."""
    _open_standard_streams()
    app(args=arguments, prog_name="wattbridge")


def _open_standard_streams() -> None:
    """Open those that the process was started without, as with ``2>&-``, on nothing.

    The next file or socket would get the number of one that is closed, which libuv takes for a fault.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number there is
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _show_version(wanted: bool) -> None:
    if wanted:
        from wattbridge.cli.version import version

        raise typer.Exit(version(as_json=False, out=sys.stdout))


@app.callback()
def _wattbridge(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command("demo", short_help="Show it at work: simulated charge points and central systems.")
def _demo_command(
    duration: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="Stop after this time: 20s, 5m.", show_default="until Ctrl-C"
        ),
    ] = None,
    as_json: AsJson = False,
    console: Annotated[
        bool,
        typer.Option(
            "--console/--no-console", help="Whether to serve the web console, at an address that is printed."
        ),
    ] = True,
) -> None:
    """Show Wattbridge at work.

    Starts a gateway and simulated parties on free ports of 127.0.0.1, and prints every message on both sides:
    a SOAP charge point at a JSON central system, a JSON charge point at a SOAP central system, and one that
    needs no translation. Needs no configuration and no network.

    The SOAP central system needs `pip install '.[simulators]'`; without it the others are shown.

    Exit codes: 0, or 1 when anything failed on the way.
    """
    seconds = None if duration is None else _seconds(duration, "--for")
    from wattbridge.cli.demo import demo

    try:
        code = demo(seconds, as_json, console=console)
    except KeyboardInterrupt:  # before the demo listens for it
        code = 0
    raise typer.Exit(code)


@app.command("init", short_help="Print a configuration file to begin with.")
def _init_command(
    minimal: Annotated[bool, typer.Option("--minimal", help="Only what has to be there.")] = False,
) -> None:
    """Print a configuration file to begin with, with a comment for everything in it.

    \b
      wattbridge init > gateway.yaml
      wattbridge check

    It can be used as it is, for charge points and a central system on this machine; what most people need
    besides stands there commented out.
    """
    from wattbridge.cli.init import init

    raise typer.Exit(init(minimal=minimal, out=sys.stdout))


@app.command("run", short_help="Run the gateway.")
def _run_command(
    config: ConfigFile = None,
    overrides: Overrides = None,
    once_ready_exit: Annotated[
        bool,
        typer.Option("--once-ready-exit", help="Stop with 0 as soon as everything listens: a trial start."),
    ] = False,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    The log goes to standard error. A configuration that is wrong is told whole, with 2 as exit code; nothing
    has been started then.
    """
    from wattbridge.cli.run import run

    raise typer.Exit(run(config, overrides or (), exit_when_ready=once_ready_exit, err=sys.stderr))


@app.command("check", short_help="Check a configuration file.")
def _check_command(
    config: ConfigFile = None,
    overrides: Overrides = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when there are warnings.")] = False,
    connect: Annotated[
        bool, typer.Option("--connect", help="Try also to reach every central system.")
    ] = False,
    identity: Annotated[
        str | None,
        typer.Option(
            "--identity",
            metavar="ID",
            help="The charge point to try as, with --connect. Without it, the first one listed.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a configuration file and print everything that is wrong with it.

    \b
      gateway.yaml:2:1: gatway: unknown key (did you mean 'gateway'?)

    Nothing is started, and without --connect nobody is called. With it, every central system is tried as a
    charge point would reach it: TCP, TLS, then the WebSocket handshake, or for SOAP the description of the
    service (?wsdl). A central system may take that for the charge point and drop a connection it has:
    --identity names one that nobody misses.

    Exit codes: 0 it can be used, 1 it has warnings and --strict is given, or a central system refuses us,
    2 it cannot be used, 3 a central system cannot be reached.
    """
    _check(identity is None or connect, "--identity", "is only for --connect")
    if identity is not None:
        _check_identity(identity, "--identity")
    from wattbridge.cli.check import check

    raise typer.Exit(
        check(
            config,
            overrides or (),
            strict=strict,
            as_json=as_json,
            out=sys.stdout,
            err=sys.stderr,
            connect=connect,
            identity=identity,
        )
    )


@app.command("reload", short_help="Have a running gateway read its configuration again.")
def _reload_command(
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    dry_run: Annotated[
        bool, typer.Option("--check", help="Only say what would change, or what is wrong.")
    ] = False,
    move: Annotated[
        bool, typer.Option("--move", help="Send sessions that are open where their routes lead now.")
    ] = False,
) -> None:
    """Have a running gateway read its configuration again, and print what has changed.

    \b
      wattbridge reload --token-file admin-token
      gateway.drain: 30s → 5s
      ok: 1 value changed

    It needs the `admin` section in the configuration. Without one, send the gateway a SIGHUP; it also sees by
    itself when its file changes. Sessions that are open keep their routes, unless --move is given.

    Exit codes: 0 well, 1 the new configuration is wrong and the old one stays, 2 wrong usage, 3 no gateway
    answers, 4 the token is refused.
    """
    from wattbridge.cli.reload import reload

    raise typer.Exit(reload(admin, token_file, check=dry_run, move=move, out=sys.stdout, err=sys.stderr))


@app.command("healthcheck", short_help="Ask whether the gateway of this machine is well.")
def _healthcheck_command(
    config: ConfigFile = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Where its health is, such as http://127.0.0.1:9181.",
            show_default="`metrics.bind` of the configuration",
        ),
    ] = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it takes messages, and not only whether it lives.")
    ] = False,
) -> None:
    """Ask whether the gateway of this machine is well, and tell by the exit code.

    For probes where there is no shell and no other client:

    \b
      HEALTHCHECK CMD ["wattbridge", "healthcheck"]

    A gateway that stops is alive and not ready. That a central system is away changes neither.

    Exit codes: 0 it is well, 1 it is not, or does not answer, 2 wrong usage.
    """
    if url is not None:
        _check(url.startswith("http://"), "--url", f"{url!r} is no URL such as http://127.0.0.1:9181")
        try:
            urlsplit(url).port  # noqa: B018
        except ValueError:
            raise typer.BadParameter(
                f"{url!r} is no URL such as http://127.0.0.1:9181", param_hint="--url"
            ) from None
    from wattbridge.cli.healthcheck import healthcheck

    raise typer.Exit(healthcheck(url, config, ready=ready, out=sys.stdout, err=sys.stderr))


@app.command("translate", short_help="Translate one message between SOAP and JSON.")
def _translate_command(
    file: Annotated[str, typer.Argument(metavar="FILE", hidden=True)] = "-",
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="json|soap", help="What to write.", show_default="the other one"),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say on standard error what was changed or lost, and why.")
    ] = False,
    identity: Annotated[
        str | None,
        typer.Option(
            "--identity", metavar="ID", help="The charge point named in the header.", show_default=False
        ),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            "--action", metavar="ACTION", help="What a reply is to; a frame does not say.", show_default=False
        ),
    ] = None,
    celsius: Annotated[
        str,
        typer.Option("--celsius", metavar="WORD", help="The unit in JSON: Celsius or Celcius."),
    ] = "Celsius",
    zone: Annotated[
        str | None,
        typer.Option(
            "--zone", metavar="ZONE", help="The zone of times that have no offset.", show_default="UTC"
        ),
    ] = None,
    milliseconds: Annotated[
        bool, typer.Option("--milliseconds", help="Write times with milliseconds.")
    ] = False,
    ocpp: Annotated[
        str,
        typer.Option("--ocpp", metavar="VERSION", help="The OCPP of a written envelope: 1.6, 1.5 or 1.2."),
    ] = "1.6",
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="P",
            help="The profile of the charge point: one that comes with the gateway, or a file.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Translate the message in FILE: a SOAP envelope to an OCPP-J frame, or a frame to an envelope.

    Without FILE, or for -, it is read from standard input. The translation goes to standard output. Needs no
    gateway and no configuration.

    \b
      wattbridge translate captured.xml --explain
      echo '[2,"1","Heartbeat",{}]' | wattbridge translate --ocpp 1.5

    An envelope that is read tells its version itself.

    Exit codes: 0 translated, 1 the message breaks the rules of OCPP, 2 it is no message, or wrong usage.
    """
    _check(to is None or to in ("json", "soap"), "--to", f"{to!r} is neither json nor soap")
    _check(celsius in ("Celsius", "Celcius"), "--celsius", f"{celsius!r} is neither Celsius nor Celcius")
    _check(ocpp in ("1.6", "1.5", "1.2"), "--ocpp", f"{ocpp!r} is none of 1.6, 1.5, 1.2")
    if zone is not None:
        _check_zone(zone, "--zone")
    message = _read_message(file)
    from wattbridge.cli.translate import translate

    raise typer.Exit(
        translate(
            message,
            to=to,
            explain=explain,
            identity=identity,
            action=action,
            celsius=celsius,
            zone=zone,
            milliseconds=milliseconds,
            profile=profile,
            version=ocpp,
            out=sys.stdout,
            err=sys.stderr,
        )
    )


@app.command("explain", short_help="Show how an action or a field is carried between SOAP and JSON.")
def _explain_command(
    query: Annotated[str | None, typer.Argument(metavar="ACTION[.FIELD]", hidden=True)] = None,
    answered: Annotated[
        bool,
        typer.Option("--local-answers", help="What the gateway answers itself, of all actions or of ACTION."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how an action, or one field of it, is carried between SOAP and JSON, and between versions of OCPP.

    \b
      wattbridge explain MeterValues
      wattbridge explain StatusNotification.status
      wattbridge explain --local-answers

    The table is the one the gateway works with: names, types, where the two encodings differ, and what OCPP
    1.5 and 1.2 make of it.

    Exit codes: 0, or 2 when there is no such action or field.
    """
    from wattbridge.cli.explain import explain, explain_local_answers

    if answered:
        raise typer.Exit(explain_local_answers(query, as_json))
    if query is None:
        raise typer.BadParameter("say which, or --local-answers", param_hint="ACTION[.FIELD]")
    raise typer.Exit(explain(query, as_json))


@simulate_app.command("charge-point", short_help="Simulate charge points.")
def _charge_point_command(
    url: Annotated[
        str,
        typer.Option(
            "--url",
            metavar="URL",
            help="Where they connect: http(s) for SOAP; ws(s) for JSON, without the identity.",
            show_default=False,
        ),
    ],
    soap: Soap = False,
    json: Json = False,
    ocpp: Ocpp = "1.6",
    number: Annotated[
        int | None,
        typer.Option("-n", metavar="NUMBER", min=1, max=9999, help="How many.", show_default="1"),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            "--identity",
            metavar="ID",
            help="Who it is; with -n what comes before the number.",
            show_default="CP-0001 and on",
        ),
    ] = None,
    scenario: Annotated[
        str, typer.Option("--scenario", metavar="charge|boot-storm|offline|quirks", help="What they do.")
    ] = "charge",
    duration: For = None,
    password_file: Annotated[
        str | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="The password of HTTP Basic authentication, the same for all.",
            show_default=False,
        ),
    ] = None,
    ca: Annotated[
        str | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            help="Whom https and wss are trusted by, in PEM.",
            show_default="the system's authorities",
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="RATE",
            help="At most so many calls, of all together: 5/s, 300/m.",
            show_default="as fast as they are answered",
        ),
    ] = None,
    call_timeout: Annotated[
        str, typer.Option("--call-timeout", metavar="DURATION", help="How long an answer may take.")
    ] = "30s",
    attempts: Annotated[
        int | None,
        typer.Option(
            "--attempts",
            metavar="NUMBER",
            min=1,
            max=1000,
            help="Keep messages of transactions until they are acknowledged, or refused so often.",
            show_default=False,
        ),
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option(
            "--retry",
            metavar="DURATION",
            help="With --attempts: how long after a failure; twice that after the second.",
            show_default="60s",
        ),
    ] = None,
    callback_host: Annotated[
        str,
        typer.Option(
            "--callback-host", metavar="HOST", help="Where SOAP charge points listen for the central system."
        ),
    ] = "127.0.0.1",
    output: Output = "text",
    quiet: Quiet = False,
) -> None:
    """Simulate charge points, and show every exchange with whatever they talk to.

    \b
      wattbridge simulate charge-point --soap --url http://127.0.0.1:8080/ocpp/cs
      wattbridge simulate charge-point --ocpp 1.5 --url http://...
      wattbridge simulate charge-point --json --url ws://127.0.0.1:9000/ocpp
      wattbridge simulate charge-point --json --url ws://... -n 100 --for 20s -q

    \b
    Scenarios:
      charge      boot, authorize, start, meter values, stop
      boot-storm  all of them boot at once and tell the status of each connector
      offline     lose the connection in the middle of a charge, come back,
                  and deliver what was kept
      quirks      what real charge points do against the specification

    With --attempts they do what the specification asks of them when something fails (OCPP 1.6 edition 2,
    3.7.1, and the errata of OCPP-S, 3.2): messages of transactions that are not answered are kept; those that
    are refused as well, unless a SOAP charge point gets an answer to a Heartbeat right after it, or a JSON
    charge point a CALLERROR. After so many of those a message is discarded, which is a failure. Before OCPP
    1.6 the first refusal is the last: the message is lost (OCPP 1.5, 8.2).

    Without --for each does its part once. With it they do it over and over until the time is over, as fast
    as they are answered if there is no --rate; after a boot-storm they stay. They answer all that a central
    system can ask. How they speak goes without saying where the URL says it.

    Exit codes: 0 all went well, 1 something failed or the other side broke a rule, 2 wrong usage.
    """
    transport = _transport(soap, json, url)
    version = _ocpp(ocpp, transport)
    _check_output(output)
    scenarios = ("charge", "boot-storm", "offline", "quirks")
    _check(scenario in scenarios, "--scenario", f"{scenario!r} is none of {', '.join(scenarios)}")
    seconds = None if duration is None else _seconds(duration, "--for")
    timeout = _seconds(call_timeout, "--call-timeout")
    per_second = None if rate is None else _rate(rate, "--rate")
    _check(retry is None or attempts is not None, "--retry", "is only for --attempts")
    retry_seconds = _seconds(retry or "60s", "--retry")
    password = None if password_file is None else _read_password(password_file)
    if ca is not None:
        _check_authorities(ca)
    from wattbridge.cli.simulate import ChargePoints, charge_points, identities

    wanted = ChargePoints(
        transport=transport,
        ocpp=version,
        url=url,
        identities=identities(identity, number),
        scenario=scenario,
        password=password,
        ca_file=ca,
        callback_host=callback_host,
        call_timeout=timeout,
        rate=per_second,
        attempts=attempts,
        retry=retry_seconds,
    )
    try:
        code = charge_points(wanted, seconds, as_json=output == "json", quiet=quiet)
    except KeyboardInterrupt:  # before it listens for it
        code = 0
    raise typer.Exit(code)


@simulate_app.command("central-system", short_help="Simulate a central system.")
def _central_system_command(
    soap: Soap = False,
    json: Json = False,
    ocpp: Ocpp = "1.6",
    bind: Annotated[
        str, typer.Option("--bind", metavar="HOST:PORT", help="Where it listens; port 0 is any free one.")
    ] = "127.0.0.1:9100",
    habits: Annotated[
        str | None,
        typer.Option(
            "--habits",
            metavar="steve|ev-server",
            help="With --soap: behave like one that is in use.",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="Stop after this time: 20s, 5m.", show_default="until Ctrl-C"
        ),
    ] = None,
    output: Output = "text",
    quiet: Quiet = False,
) -> None:
    """Simulate a central system that accepts every charge point, and show every exchange.

    \b
      wattbridge simulate central-system --json --bind 127.0.0.1:9000
      wattbridge simulate central-system --soap --habits steve
      wattbridge simulate central-system --soap --ocpp 1.5

    With --json charge points connect to ws://HOST:PORT/ocpp/IDENTITY, with --soap they post to
    http://HOST:PORT/ocpp; the latter needs `pip install '.[simulators]'`.

    \b
    Habits:
      steve      fully qualified wsa:Action in responses, no wsa:From in calls,
                 SecurityError for all before an accepted BootNotification
      ev-server  the same wsa:MessageID in every call, chargeBoxIdentity in
                 the namespace of OCPP 1.5

    Exit codes: 0 all went well, 1 a charge point broke a rule or nothing can listen there, 2 wrong usage, or
    something is not installed.
    """
    _check(soap != json, "--soap, --json", "say how it speaks: one of the two")
    version = _ocpp(ocpp, "soap" if soap else "json")
    _check_output(output)
    _check(habits in (None, "steve", "ev-server"), "--habits", f"{habits!r} is neither steve nor ev-server")
    _check(habits is None or soap, "--habits", "they are those of SOAP central systems: add --soap")
    seconds = None if duration is None else _seconds(duration, "--for")
    host, port = _bind(bind, "--bind")
    from wattbridge.cli.simulate import central_system

    try:
        code = central_system(
            "soap" if soap else "json",
            version,
            host,
            port,
            cast(Literal["steve", "ev-server"] | None, habits),
            seconds,
            as_json=output == "json",
            quiet=quiet,
        )
    except KeyboardInterrupt:  # before it listens for it
        code = 0
    raise typer.Exit(code)


@app.command("version", short_help="Show the version.")
def _version_command(as_json: AsJson = False) -> None:
    """Show the version of Wattbridge; with --json also those of Python and the libraries it stands on."""
    from wattbridge.cli.version import version

    raise typer.Exit(version(as_json=as_json, out=sys.stdout))


@config_app.command("schema", short_help="Print the JSON Schema of the configuration file.")
def _schema_command() -> None:
    """Print the JSON Schema of the configuration file, for editors and other checkers.

    \b
      wattbridge config schema > gateway.schema.json

    Editors with the YAML language server find it by the first line of the file:

    \b
      # yaml-language-server: $schema=./gateway.schema.json
    """
    from wattbridge.cli.config import schema

    raise typer.Exit(schema(sys.stdout))


@config_app.command("reference", hidden=True)
def _reference_command() -> None:
    """Print docs/reference/configuration.md, which is made from the models."""
    from wattbridge.cli.reference import page

    sys.stdout.write(page())


@routes_app.command("list", short_help="List the routes in their order.")
def _routes_list_command(
    config: ConfigFile = None, overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """List the routes in their order: whom each is for, and where it leads.

    Exit codes: 0, or 2 when the configuration cannot be used.
    """
    from wattbridge.cli.routes import list_routes

    raise typer.Exit(list_routes(config, overrides or (), as_json=as_json, out=sys.stdout, err=sys.stderr))


@routes_app.command("test", short_help="Show which route a charge point takes, and why.")
def _routes_test_command(
    identity: Annotated[str, typer.Argument(metavar="ID", hidden=True)],
    config: ConfigFile = None,
    overrides: Overrides = None,
    vendor: Annotated[
        str | None,
        typer.Option(
            "--vendor", metavar="V", help="chargePointVendor of its BootNotification.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="M", help="chargePointModel of it.", show_default=False),
    ] = None,
    firmware: Annotated[
        str | None,
        typer.Option("--firmware", metavar="F", help="firmwareVersion of it.", show_default=False),
    ] = None,
    source: Annotated[
        str, typer.Option("--source", metavar="IP", help="The address it speaks from.", show_default=False)
    ] = "",
    listener: Annotated[
        str, typer.Option("--listener", metavar="L", help="The listener it comes in at.", show_default=False)
    ] = "",
    unknown: Annotated[
        bool, typer.Option("--unknown", help="As if it were not listed under `chargers`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which route charge point ID takes, and why none of those before it.

    \b
      wattbridge routes test BER-0001
      wattbridge routes test BER-0001 --vendor ACME --model CC-1 --firmware 1.3.2

    Without --vendor, --model and --firmware it has not sent its BootNotification yet. Nobody is called.

    Exit codes: 0 it goes to a central system, 1 it is turned away, 2 the configuration cannot be used, or
    wrong usage.
    """
    _check_identity(identity, "ID")
    if source:
        _check_address(source, "--source")
    from wattbridge.cli.routes import tell_route
    from wattbridge.relay.routes import Heard

    heard = Heard(identity, source, listener, vendor=vendor, model=model, firmware=firmware)
    raise typer.Exit(
        tell_route(
            config,
            overrides or (),
            heard,
            unknown=unknown,
            as_json=as_json,
            out=sys.stdout,
            err=sys.stderr,
        )
    )


@store_app.command("backup", short_help="Copy the store to a file.")
def _store_backup_command(
    file: Annotated[str, typer.Argument(metavar="FILE", hidden=True)],
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Copy the store to FILE, whether or not the gateway runs.

    \b
      wattbridge store backup /var/backups/wattbridge.db

    The copy is of one moment and one file. It is checked, and takes the place of an earlier copy only when
    it is whole. To go back to it, stop the gateway, remove the files that are named as the store with -wal
    and -shm behind, put the copy where the store is, and start the gateway.

    Exit codes: 0 copied, 1 no whole copy can be made, 2 the configuration cannot be used, or FILE is
    something else, 3 there is no store that can be read.
    """
    from wattbridge.cli.store import back_up

    raise typer.Exit(back_up(file, config, overrides or (), out=sys.stdout, err=sys.stderr))


@store_app.command("migrate", short_help="Bring the tables of the store up to date.")
def _store_migrate_command(
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Only print the statements that would be run.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Bring the tables of the store up to date, as `wattbridge run` does when it starts.

    \b
      wattbridge store backup before.db && wattbridge store migrate

    The gateway must not be running, but for --sql.

    Exit codes: 0 up to date, 2 the configuration cannot be used, 3 there is no store that can be used, 4 a
    gateway uses it.
    """
    from wattbridge.cli.store import migrate

    raise typer.Exit(migrate(config, overrides or (), as_sql=as_sql, out=sys.stdout, err=sys.stderr))


@store_app.command("prune", short_help="Take away what is old.")
def _store_prune_command(
    replies: Annotated[
        bool, typer.Option("--replies", help="Replies to messages that may come again.")
    ] = False,
    transactions: Annotated[
        bool, typer.Option("--transactions", help="Transactions that have ended.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="The message history.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            help="Take away what is older: 12h, 30d.",
            show_default="as the configuration says",
        ),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Take away what is old, as the gateway does by itself while it runs.

    \b
      wattbridge store prune --history --older-than 1h

    Without --replies, --transactions and --history all three are meant. What waits for a central system and
    what that is about, transactions that are open and what is known of charge points stay. The file gets
    smaller with `wattbridge store vacuum`. The gateway must not be running.

    Exit codes: 0 done, 1 it cannot be done, 2 the configuration cannot be used, or wrong usage, 3 there is no
    store that can be used, 4 a gateway uses it.
    """
    age = None if older_than is None else _seconds(older_than, "--older-than")
    what = [
        name
        for name, wanted in (("replies", replies), ("transactions", transactions), ("history", history))
        if wanted
    ]
    from wattbridge.cli.store import prune

    raise typer.Exit(prune(what, age, config, overrides or (), out=sys.stdout, err=sys.stderr))


@store_app.command("vacuum", short_help="Make the file of the store as small as it can be.")
def _store_vacuum_command(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Write the file of the store anew, as small as it can be.

    What was taken away leaves room in the file, which is used again; only after much was taken away is this
    of use. The disk needs room for a second copy meanwhile. The gateway must not be running.

    Exit codes: 0 done, 1 it cannot be done, 2 the configuration cannot be used, 3 there is no store that can
    be used, 4 a gateway uses it.
    """
    from wattbridge.cli.store import vacuum

    raise typer.Exit(vacuum(config, overrides or (), out=sys.stdout, err=sys.stderr))


@queue_app.command("list", short_help="List the messages that wait.")
def _queue_list_command(
    charger: OfCharger = None,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="waiting|parked", help="Only these.", show_default=False),
    ] = None,
    limit: Limit = 1000,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    output: Report = "text",
) -> None:
    """List the messages of charge points that have not reached their central system, in their order.

    \b
      wattbridge queue list --token-file admin-token
      charger  position  action           state    kept    refusals  problem
      CP3211   17        StopTransaction  waiting  4m 12s  0         -

    A parked one was refused too often (`offline.attempts`): it waits for `queue retry` or `queue drop`, and
    the others go on.

    Exit codes: 0 well, 1 a negative answer, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    _check_output(output)
    _check(state in (None, "waiting", "parked"), "--state", f"{state!r} is neither waiting nor parked")
    from wattbridge.cli.queue import list_waiting

    raise typer.Exit(
        list_waiting(
            admin,
            token_file,
            charger=charger,
            state=state,
            most=limit,
            as_json=output == "json",
            out=_for_people(),
            err=sys.stderr,
        )
    )


@queue_app.command("show", short_help="Show one message whole.")
def _queue_show_command(
    charger: Charger,
    position: Position,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    output: Report = "text",
) -> None:
    """Show the message of charge point CHARGER at POSITION whole, its payload as the charge point sent it.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    _check_output(output)
    from wattbridge.cli.queue import show

    as_json = output == "json"
    raise typer.Exit(
        show(admin, token_file, charger, position, as_json=as_json, out=_for_people(), err=sys.stderr)
    )


@queue_app.command("retry", short_help="Send one message again at once.")
def _queue_retry_command(
    charger: Charger,
    position: Position,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Send the message of charge point CHARGER at POSITION again at once, a parked one too.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.queue import retry

    raise typer.Exit(retry(admin, token_file, charger, position, out=_for_people(), err=sys.stderr))


@queue_app.command("drop", short_help="Never send a message; it is printed first.")
def _queue_drop_command(
    charger: Charger,
    position: Annotated[int | None, typer.Argument(metavar="POSITION", hidden=True, min=0)] = None,
    older: Annotated[
        str | None,
        typer.Option(
            "--older",
            metavar="DURATION",
            help="In the place of POSITION: all that are kept for longer, such as 24h.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it they are only printed.")] = False,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Never send the message of charge point CHARGER at POSITION.

    Its charge point has deleted it: a StopTransaction that is dropped is a charge nobody is billed for. So it
    is printed whole before, one JSON object a line, for whoever wants to enter it by hand:

    \b
      wattbridge queue drop CP3211 17 --yes > dropped.jsonl
      wattbridge queue drop CP3211 --older 24h --yes >> dropped.jsonl

    Exit codes: 0 dropped, 1 there is none, 2 wrong usage, also without --yes, 3 no gateway answers, 4 the
    token is refused.
    """
    _check((position is None) != (older is None), "POSITION, --older", "say which: one of the two")
    seconds = None if older is None else _seconds(older, "--older")
    from wattbridge.cli.queue import drop

    raise typer.Exit(
        drop(
            admin, token_file, charger, position, older=seconds, sure=yes, out=_for_messages(), err=sys.stderr
        )
    )


@upstreams_app.command("list", short_help="List central systems, and whether they are in service.")
def _upstreams_list_command(
    admin: AdminUrl = ADMIN, token_file: TokenFile = TOKEN, as_json: AsJson = False
) -> None:
    """List the central systems of a gateway: whether they are in service and reached, and by which routes.

    \b
      wattbridge upstreams list --token-file admin-token
      upstream  speaks        state  up   open  trying  routes
      cloud     ocpp1.6-json  maint  no   0     412     berlin, everybody
      spare     ocpp1.6-json  ready  yes  30    0       berlin

    Open are the charge points that are connected to it, trying those that want to be.

    Exit codes: 0 well, 1 a negative answer, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.upstreams import list_upstreams

    raise typer.Exit(list_upstreams(admin, token_file, as_json=as_json, out=_for_people(), err=sys.stderr))


@upstreams_app.command("ready", short_help="Put one back in service.")
def _upstreams_ready_command(
    name: UpstreamName, admin: AdminUrl = ADMIN, token_file: TokenFile = TOKEN
) -> None:
    """Put central system NAME back in service: charge points are connected to it again, at the pace of
    `connect.rate`, and what was kept for it is delivered.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.upstreams import set_state

    raise typer.Exit(set_state(admin, token_file, name, "ready", out=_for_people(), err=sys.stderr))


@upstreams_app.command("drain", short_help="Let what is connected go on, and connect nothing anew.")
def _upstreams_drain_command(
    name: UpstreamName, admin: AdminUrl = ADMIN, token_file: TokenFile = TOKEN
) -> None:
    """Let what is connected to central system NAME go on, and connect nothing anew.

    Who loses its connection, or comes in anew, goes to the `fallback` of its route, or is answered as while a
    central system is away. A restart of the gateway makes it ready.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.upstreams import set_state

    raise typer.Exit(set_state(admin, token_file, name, "drain", out=_for_people(), err=sys.stderr))


@upstreams_app.command("maint", short_help="Take one out of service.")
def _upstreams_maint_command(
    name: UpstreamName, admin: AdminUrl = ADMIN, token_file: TokenFile = TOKEN
) -> None:
    """Take central system NAME out of service: what is in flight ends, connections are closed, and nothing
    goes there until `upstreams ready`.

    What charge points say meanwhile goes to the `fallback` of their route, or is kept and delivered later. A
    restart of the gateway makes it ready.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.upstreams import set_state

    raise typer.Exit(set_state(admin, token_file, name, "maint", out=_for_people(), err=sys.stderr))


@chargers_app.command("list", short_help="List charge points, what they speak, and whether they are there.")
def _chargers_list_command(
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="connected|stale|offline|unknown",
            help="Only those that are so.",
            show_default=False,
        ),
    ] = None,
    find: Annotated[
        str | None,
        typer.Option(
            "--find",
            metavar="TEXT",
            help="Only those with this in their identity, version, vendor, model, route or central system.",
            show_default=False,
        ),
    ] = None,
    limit: Limit = 10_000,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    as_json: AsJson = False,
) -> None:
    """List the charge points that a gateway knows: those that are there, those that were, and those listed.

    \b
      wattbridge chargers list --token-file admin-token

    Of each: what it speaks, what it told of itself in its BootNotification, its central system and what that
    speaks, whether it has a session, and how often something was lost of its messages, or of those to it.

    Exit codes: 0 well, 1 a negative answer, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.chargers import list_chargers

    raise typer.Exit(
        list_chargers(
            admin,
            token_file,
            state=state,
            find=find,
            most=limit,
            as_json=as_json,
            out=_for_people(),
            err=sys.stderr,
        )
    )


@chargers_app.command("kick", short_help="Close the connections of a charge point.")
def _chargers_kick_command(
    charger: Annotated[str, typer.Argument(metavar="CHARGER", show_default=False)],
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Close the session of charge point CHARGER, with its connections on both sides; it may come back.

    \b
      wattbridge chargers kick CP3211

    What is on its way ends first, and what waits for its central system is delivered all the same.

    Exit codes: 0 done, 1 it has no session, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.chargers import let_go

    raise typer.Exit(let_go(admin, token_file, charger, for_good=False, out=_for_people(), err=sys.stderr))


@chargers_app.command("forget", short_help="Forget a charge point that is gone for good.")
def _chargers_forget_command(
    charger: Annotated[str, typer.Argument(metavar="CHARGER", show_default=False)],
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Take charge point CHARGER, which is gone for good, out of the lists.

    \b
      wattbridge chargers forget CP3211

    It must have no session, must not be listed in the configuration, and nothing of it may wait for a central
    system. Its transactions stay as they are.

    Exit codes: 0 done, 1 it cannot be forgotten, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.chargers import let_go

    raise typer.Exit(let_go(admin, token_file, charger, for_good=True, out=_for_people(), err=sys.stderr))


@chargers_app.command("allow", short_help="Print the lines that list a charge point.")
def _chargers_allow_command(
    charger: Annotated[str, typer.Argument(metavar="CHARGER", show_default=False)],
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Print the lines of the configuration that list charge point CHARGER, which wants in and is not known.

    \b
      wattbridge chargers list --state unknown
      wattbridge chargers allow CP3212

    Nothing is written: the gateway takes the lines over when they are in its file.

    Exit codes: 0 well, 1 it is listed already, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.chargers import allow

    raise typer.Exit(allow(admin, token_file, charger, out=_for_people(), err=sys.stderr))


@chargers_app.command("report", short_help="Say what is lost, changed and answered on the way.")
def _chargers_report_command(
    charger: Annotated[str | None, typer.Argument(metavar="CHARGER", hidden=True)] = None,
    limit: Limit = 10_000,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    as_json: AsJson = False,
) -> None:
    """Say what becomes of the messages of charge point CHARGER: the compatibility report.

    \b
      wattbridge chargers report CP3211
      wattbridge chargers report

    What it and its central system speak; what is lost or changed between the two in each direction; which
    calls the gateway answers itself, because the other side has no such operation; and what has been lost
    since the gateway was started, by rule and place. Without CHARGER of all: those that speak alike are told
    of together.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.chargers import report

    raise typer.Exit(
        report(
            admin,
            token_file,
            charger,
            most=limit,
            as_json=as_json,
            out=_for_people(),
            err=sys.stderr,
        )
    )


@transactions_app.command("list", short_help="List transactions.")
def _transactions_list_command(
    charger: OfCharger = None,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="open|stopped|refused", help="Only these.", show_default=False),
    ] = None,
    limit: Limit = 1000,
    reveal: Reveal = False,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    output: Report = "text",
) -> None:
    """List the transactions that a gateway knows, with the number each has on either side.

    A number the gateway gave itself, while the central system was away, is marked `(ours)`.

    Exit codes: 0 well, 1 a negative answer, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    _check_output(output)
    states = ("open", "stopped", "refused")
    _check(state in (None, *states), "--state", f"{state!r} is none of {', '.join(states)}")
    from wattbridge.cli.transactions import list_transactions

    raise typer.Exit(
        list_transactions(
            admin,
            token_file,
            charger=charger,
            state=state,
            most=limit,
            reveal=reveal,
            as_json=output == "json",
            out=_for_people(),
            err=sys.stderr,
        )
    )


@transactions_app.command("show", short_help="Show one transaction.", context_settings=_NEGATIVE_NUMBERS)
def _transactions_show_command(
    charger: Charger,
    number: Number,
    reveal: Reveal = False,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    output: Report = "text",
) -> None:
    """Show the transaction that charge point CHARGER knows as NUMBER.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    _check_output(output)
    from wattbridge.cli.transactions import show

    raise typer.Exit(
        show(
            admin,
            token_file,
            charger,
            number,
            reveal=reveal,
            as_json=output == "json",
            out=_for_people(),
            err=sys.stderr,
        )
    )


@transactions_app.command(
    "map",
    short_help="Say which number a transaction has at its central system.",
    context_settings=_NEGATIVE_NUMBERS,
)
def _transactions_map_command(
    charger: Charger,
    number: Number,
    remote_id: Annotated[int, typer.Argument(metavar="REMOTE", hidden=True)],
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Say that the transaction that charge point CHARGER knows as NUMBER is REMOTE at its central system.

    For one whose start was entered there by hand. Everything the charge point says of NUMBER reaches the
    central system as of REMOTE from now on, what waits too, and the other way round.

    \b
      wattbridge transactions map CP3211 2000000017 4711

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.transactions import set_number

    raise typer.Exit(
        set_number(admin, token_file, charger, number, remote_id, out=_for_people(), err=sys.stderr)
    )


@profile_app.command("list", short_help="List the profiles there are.")
def _profile_list_command(
    config: ConfigFile = None, overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """List the profiles that come with the gateway, and with -c those of a configuration.

    Exit codes: 0, or 2 when the configuration cannot be used.
    """
    from wattbridge.cli.profiles import list_profiles

    raise typer.Exit(
        list_profiles(config, overrides or (), as_json=as_json, out=_for_people(), err=sys.stderr)
    )


@profile_app.command("show", short_help="Show what one profile says.")
def _profile_show_command(
    name: Annotated[str, typer.Argument(metavar="PROFILE", hidden=True)],
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show what one profile says, with everything it extends: whom it is for, where that was seen, what an
    installer has to see to, and its rules.

    PROFILE is a name that `wattbridge profile list` shows, with -c also one of a configuration, or a file.

    Exit codes: 0, or 2 when there is no such profile, or it is wrong.
    """
    from wattbridge.cli.profiles import show_profile

    raise typer.Exit(
        show_profile(name, config, overrides or (), as_json=as_json, out=_for_people(), err=sys.stderr)
    )


@profile_app.command("test", short_help="Run the samples of profiles.")
def _profile_test_command(
    name: Annotated[str | None, typer.Argument(metavar="PROFILE", hidden=True)] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run the samples of one profile, or of all: each message is carried, and compared with what is written.

    PROFILE is as in `wattbridge profile show`.

    \b
      wattbridge profile test
      wattbridge profile test my-profile.yaml

    Exit codes: 0 all hold, 1 one does not, 2 there is no such profile, or it is wrong.
    """
    from wattbridge.cli.profiles import test_profiles

    raise typer.Exit(
        test_profiles(name, config, overrides or (), as_json=as_json, out=_for_people(), err=sys.stderr)
    )


@profile_app.command("new", short_help="Begin a profile with captured messages.")
def _profile_new_command(
    file: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Captured messages: SOAP envelopes and frames of OCPP-J, with anything between them. "
            "- is standard input.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Its name.", show_default="what a BootNotification says"),
    ] = None,
) -> None:
    """Begin a profile with captured messages, and print it.

    Products are taken from a BootNotification among the messages, rules from what reading them complains
    about, and the messages become samples. What the rules should say is a guess, and marked as such.

    \b
      wattbridge profile new --from trace.txt > my-profile.yaml
      wattbridge profile test my-profile.yaml

    Messages may hold idTags and addresses: look through the file before you pass it on.

    Exit codes: 0, 1 no message was found, 2 wrong usage.
    """
    if name is not None:
        _check_name(name, "--name")
    messages = _read_message(file)
    from wattbridge.cli.profile_new import begin_profile

    raise typer.Exit(begin_profile(messages, name, out=_for_messages(), err=sys.stderr))


@dashboards_app.command("list", short_help="List them.")
def _dashboards_list_command(as_json: AsJson = False) -> None:
    """List the dashboards of Grafana and the files of Prometheus that come with this version.

    \b
      wattbridge dashboards list

    Exit code: 0.
    """
    from wattbridge.cli.dashboards import list_dashboards

    raise typer.Exit(list_dashboards(as_json=as_json, out=_for_people()))


@dashboards_app.command("render", short_help="Write them into a folder.")
def _dashboards_render_command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where to; it is made.", show_default=False)],
) -> None:
    """Write the dashboards of Grafana and the files of Prometheus into DIR, over those that are there.

    \b
      wattbridge dashboards render watching

    Exit codes: 0, 2 they cannot be written.
    """
    from wattbridge.cli.dashboards import render

    raise typer.Exit(render(folder, out=_for_people(), err=sys.stderr))


@app.command("call", short_help="Send a call to a charge point, as its central system would.")
def _call_command(
    charger: Charger,
    action: Annotated[str, typer.Argument(metavar="ACTION", hidden=True)],
    fields: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", hidden=True)] = None,
    payload: Annotated[
        str | None,
        typer.Option("--payload", metavar="JSON", help="What is sent, as JSON.", show_default=False),
    ] = None,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Send a call to charge point CHARGER through a running gateway, and print its reply.

    \b
      wattbridge call CP3211 Reset type=Soft
      wattbridge call CP3211 GetConfiguration 'key=["HeartbeatInterval"]'

    It goes the way of a call of the central system, is checked, translated and recorded like one, and noted
    in the audit log. Transactions have the numbers there that the central system knows. The token needs the
    role `operate`.

    Exit codes: 0 it has replied, 1 it or the gateway answers with an error, 2 wrong usage, 3 no gateway
    answers, 4 the token is refused.
    """
    from wattbridge.cli.calling import call

    raise typer.Exit(
        call(admin, token_file, charger, action, fields or (), payload, out=_for_messages(), err=sys.stderr)
    )


@app.command("support-dump", short_help="Write one file about a gateway for whoever helps.")
def _support_dump_command(
    file: Annotated[str, typer.Argument(metavar="FILE.zip", show_default=False)],
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Write FILE.zip, which tells whoever helps how a running gateway is doing.

    \b
      wattbridge support-dump support.zip

    Versions, configuration, problems, charge points, metrics and the last exchanges that failed; no password,
    no token, no idTag. Identities and addresses are in it.

    Exit codes: 0 well, 2 wrong usage or the file cannot be written, 3 no gateway answers, 4 the token is
    refused.
    """
    from wattbridge.cli.support import support_dump

    raise typer.Exit(support_dump(admin, token_file, file, err=sys.stderr))


@app.command("problems", short_help="Say what goes wrong, by cause, and what to do about it.")
def _problems_command(
    charger: OfCharger = None,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    as_json: AsJson = False,
) -> None:
    """Say what goes wrong at a running gateway, the latest first: each cause in plain words, and its fix.

    \b
      wattbridge problems
      wattbridge problems --charger CP3211

    Exit codes: 0 well, 1 a negative answer, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.calling import list_problems

    raise typer.Exit(
        list_problems(admin, token_file, charger=charger, as_json=as_json, out=_for_people(), err=sys.stderr)
    )


@admin_app.command("hash-token", short_help="Make the hash of a token, for the configuration.")
def _admin_hash_token_command(
    new: Annotated[bool, typer.Option("--new", help="Make a token, too, and print both.")] = False,
) -> None:
    """Make the hash of the token on standard input, which may stand in the configuration instead of it.

    \b
      wattbridge admin hash-token --new
      wattbridge admin hash-token < admin-token

    It goes into `admin.tokens.NAME.hash`. Nobody can read the token back from there: keep it elsewhere.

    Exit codes: 0 made, 2 there is no token on standard input, or one that can be guessed.
    """
    from wattbridge.cli.admin import hash_token, make_token

    if new:
        raise typer.Exit(make_token(out=sys.stdout))
    raise typer.Exit(hash_token(sys.stdin.read(), out=sys.stdout, err=sys.stderr))


@admin_app.command("audit", short_help="List who did what.")
def _admin_audit_command(
    who: Annotated[
        str | None,
        typer.Option("--who", metavar="NAME", help="Only with the token of this name.", show_default=False),
    ] = None,
    limit: Limit = 100,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
    as_json: AsJson = False,
) -> None:
    """List what was done by the admin interface of a running gateway, the latest first, refused attempts too.

    \b
      wattbridge admin audit --who depot

    The token needs the role `admin`.

    Exit codes: 0 well, 1 a negative answer, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.admin import list_audit

    raise typer.Exit(
        list_audit(admin, token_file, who=who, most=limit, as_json=as_json, out=_for_people(), err=sys.stderr)
    )


@trace_app.callback(invoke_without_command=True)
def _trace_command(
    context: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")
    ] = False,
    wanted: Wanted = "",
    charger: OfCharger = None,
    duration: For = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="pretty|text|oot|ndjson",
            help="A line each; with the messages; Open OCPP Trace; or one JSON object each.",
        ),
    ] = "pretty",
    legs: Legs = "both",
    limit: Annotated[
        int,
        typer.Option("--limit", metavar="NUMBER", min=1, max=10_000, help="Of the history, at most so many."),
    ] = 20,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Show the last exchanges that a gateway has carried, and with -f those that it carries from now on.

    \b
      wattbridge trace -f --filter 'charger:BER-* action:MeterValues'
      10:30:06.012  BER-0001  ▶  MeterValues  soap→json  ok  12 ms  1 change  #1790000000000017

    Fields of a filter: charger, action, dir (to-csms, to-charger), leg (soap, json), version, status (ok,
    kept, offline, local, repeat, failed, or a reason such as timeout), upstream, route, profile, source (an
    address or a network), quirk, rule, loss, change, size, slower, faster, text, since, until, number. They
    are joined by and (which may be left out), or, not and parentheses; * stands for anything.

    Exit codes: 0 well, 1 a negative answer, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    if context.invoked_subcommand is not None:
        return
    from wattbridge.cli.trace import FORMATS, Shown, tail
    from wattbridge.cli.trace import follow as go_on

    _check(form in FORMATS, "--format", f"{form!r} is none of {', '.join(FORMATS)}")
    _check(duration is None or follow, "--for", "it is for --follow")
    _check_legs(legs)
    shown = Shown(_with_charger(wanted, charger), form, legs)
    out = _for_people() if form in ("pretty", "text") else _for_messages()
    if not follow:
        raise typer.Exit(tail(admin, token_file, shown, limit, out=out, err=sys.stderr))
    seconds = None if duration is None else _seconds(duration, "--for")
    raise typer.Exit(go_on(admin, token_file, shown, seconds, out=out, err=sys.stderr))


@trace_app.command("show", short_help="Show one exchange whole.")
def _trace_show_command(
    number: Number,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="text|json|oot|ndjson|exchange",
            help="As text, as the API has it, as lines of a trace, or as files of a test case.",
        ),
    ] = "text",
    folder: Annotated[
        str | None,
        typer.Option("--to", metavar="FOLDER", help="Where the test case goes: `tests`.", show_default=False),
    ] = None,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Show the exchange NUMBER: both encodings of both messages, and what was changed or lost on the way.

    With `--format exchange` its four messages become files as they are under `tests/exchanges`, in
    FOLDER/exchanges/<Action>/<NUMBER>.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    forms = ("text", "json", "oot", "ndjson", "exchange")
    _check(form in forms, "--format", f"{form!r} is none of {', '.join(forms)}")
    _check(folder is None or form == "exchange", "--to", "it is for --format exchange")
    from wattbridge.cli.trace import show

    out = _for_people() if form == "text" else _for_messages()
    raise typer.Exit(show(admin, token_file, number, form, folder, out=out, err=sys.stderr))


@trace_app.command("start", short_help="Begin a capture.")
def _trace_start_command(
    wanted: Wanted = "",
    charger: OfCharger = None,
    network: Annotated[
        str | None,
        typer.Option("--network", metavar="NETWORK", help="Only those from there.", show_default=False),
    ] = None,
    duration: Annotated[str, typer.Option("--for", metavar="DURATION", help="It ends by then.")] = "10m",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is called.")] = "",
    records: Annotated[int, typer.Option("--records", min=1, help="At most so many exchanges.")] = 10_000,
    size: Annotated[str, typer.Option("--size", metavar="SIZE", help="At most so much.")] = "16MiB",
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Have a gateway keep the exchanges that a filter wants, whatever its history forgets.

    \b
      wattbridge trace start --charger CP3211 --for 1h
      wattbridge trace export 6d1f02a4c3e9 --output cp3211.jsonl

    The id is written; `trace list` has it, too. A capture ends at its time, or when it has as much as it may.

    Exit codes: 0 well, 1 there are too many, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.trace import start
    from wattbridge.config.values import read_size

    _seconds(duration, "--for")
    try:
        most_bytes = read_size(size)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--size") from None
    asked = {"filter": _with_charger(wanted, None), "for": duration, "name": name}
    asked |= {"charger": charger} if charger else {}
    asked |= {"network": network} if network else {}
    limits = {"records": records, "bytes": most_bytes}
    raise typer.Exit(start(admin, token_file, asked | limits, out=sys.stdout, err=sys.stderr))


@trace_app.command("stop", short_help="End a capture.")
def _trace_stop_command(
    capture: TraceId,
    delete: Annotated[bool, typer.Option("--delete", help="And take it away with all that it has.")] = False,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """End the capture ID before its time; what it has stays until it is deleted.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    from wattbridge.cli.trace import stop

    raise typer.Exit(stop(admin, token_file, capture, delete=delete, out=sys.stdout, err=sys.stderr))


@trace_app.command("list", short_help="List the captures.")
def _trace_list_command(
    admin: AdminUrl = ADMIN, token_file: TokenFile = TOKEN, output: Report = "text"
) -> None:
    """List the captures, the newest first.

    Exit codes: 0 well, 1 a negative answer, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    _check_output(output)
    from wattbridge.cli.trace import list_captures

    as_json = output == "json"
    raise typer.Exit(list_captures(admin, token_file, as_json=as_json, out=_for_people(), err=sys.stderr))


@trace_app.command("export", short_help="Write what a capture has to a file.")
def _trace_export_command(
    capture: TraceId,
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="oot|ndjson|text", help="Open OCPP Trace, one object each, or text."
        ),
    ] = "oot",
    legs: Legs = "both",
    file: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="FILE", help="Where; without it, standard output.", show_default=False
        ),
    ] = None,
    admin: AdminUrl = ADMIN,
    token_file: TokenFile = TOKEN,
) -> None:
    """Write what the capture ID has, the oldest first: for other programs, for `trace replay`, or to read.

    Exit codes: 0 well, 1 there is none, 2 wrong usage, 3 no gateway answers, 4 the token is refused.
    """
    _check(form in ("oot", "ndjson", "text"), "--format", f"{form!r} is none of oot, ndjson, text")
    _check_legs(legs)
    from wattbridge.cli.trace import Shown, export

    shown = Shown(format=form, legs=legs)
    raise typer.Exit(export(admin, token_file, capture, shown, file, out=_for_messages(), err=sys.stderr))


@trace_app.command("replay", short_help="Play a trace to a central system.")
def _trace_replay_command(
    file: Annotated[str, typer.Argument(metavar="FILE", hidden=True)],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="URL", help="The central system: ws(s):// for JSON, http(s):// for SOAP."
        ),
    ],
    speed: Annotated[
        str, typer.Option("--speed", metavar="4x|max", help="So many times as fast, or without a pause.")
    ] = "1x",
    leg: Annotated[
        str,
        typer.Option("--leg", metavar="charger|csms", help="What charge points said, or what was relayed."),
    ] = "charger",
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="Also to another machine, which takes the messages for real.")
    ] = False,
) -> None:
    """Play the calls of the charge points in FILE, a trace, to a central system that may be played with.

    \b
      wattbridge simulate central-system --json --bind 127.0.0.1:9000
      wattbridge trace replay cp3211.jsonl --to ws://127.0.0.1:9000 --speed 10x

    FILE is Open OCPP Trace, of any program, or NDJSON of `trace export`. Whatever a charge point spoke then,
    it speaks what URL asks for. Numbers of transactions are those that the central system gives now.

    Exit codes: 0 every call was answered, 1 not every one, 2 wrong usage or no trace, 3 nobody is there.
    """
    from wattbridge.cli.replay import Playing, replay

    _check(leg in ("charger", "csms"), "--leg", f"{leg!r} is neither charger nor csms")
    playing = Playing(to, _speed(speed), leg)
    raise typer.Exit(replay(file, playing, anywhere=anywhere, out=_for_people(), err=sys.stderr))


def _speed(text: str) -> float:
    if text == "max":
        return 0.0
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    _check(0.001 <= speed <= 1_000_000, "--speed", f"{text!r} is neither a factor such as 4x nor max")
    return speed


def _check_legs(legs: str) -> None:
    _check(legs in ("both", "charger", "csms"), "--legs", f"{legs!r} is none of both, charger, csms")


def _with_charger(wanted: str, charger: str | None) -> str:
    """A filter that can be understood, for one charge point where one is named."""
    from wattbridge.cli.trace import checked_filter

    if problem := checked_filter(wanted):
        raise typer.BadParameter(problem, param_hint="--filter")
    if charger is None:
        return wanted
    escaped = charger.replace("\\", "\\\\").replace('"', '\\"')
    named = f'charger:"{escaped}"'
    return f"({wanted}) {named}" if wanted.strip() else named


app.add_typer(profile_app, name="profile")
app.add_typer(routes_app, name="routes")
app.add_typer(chargers_app, name="chargers")
app.add_typer(upstreams_app, name="upstreams")
app.add_typer(trace_app, name="trace")
app.add_typer(queue_app, name="queue")
app.add_typer(transactions_app, name="transactions")
app.add_typer(admin_app, name="admin")
app.add_typer(store_app, name="store")
app.add_typer(simulate_app, name="simulate")
app.add_typer(config_app, name="config")
app.add_typer(dashboards_app, name="dashboards")


def _for_people() -> TextIO:
    from wattbridge.cli.streams import for_people

    return for_people(sys.stdout)


def _for_messages() -> TextIO:
    from wattbridge.cli.streams import for_messages

    return for_messages(sys.stdout)


def _check(right: bool, option: str, problem: str) -> None:
    if not right:
        raise typer.BadParameter(problem, param_hint=option)


def _seconds(text: str, option: str) -> float:
    from wattbridge.config.values import read_duration

    try:
        return read_duration(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def _rate(text: str, option: str) -> float:
    from wattbridge.config.values import read_rate

    try:
        rate = read_rate(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None
    _check(rate > 0, option, f"{text} is never")
    return rate


def _bind(text: str, option: str) -> tuple[str, int]:
    from wattbridge.config.values import read_bind

    try:
        return read_bind(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def _transport(soap: bool, json: bool, url: str) -> Literal["soap", "json"]:
    """How the charge points speak: what was said, or what the URL can only mean."""
    scheme = url.partition("://")[0].lower()
    by_url = {"http": True, "https": True, "ws": False, "wss": False}.get(scheme)
    _check(by_url is not None, "--url", f"{url!r} is neither http(s):// for SOAP nor ws(s):// for JSON")
    _check(bool(_host(url)), "--url", f"{url!r} names no host")
    said = "--soap" if json and by_url else "--json" if soap and not by_url else None
    _check(said is None, "--url", f"{scheme}:// is for {said}")
    return "soap" if by_url else "json"


def _ocpp(version: str, transport: Literal["soap", "json"]) -> Literal["1.6", "1.5", "1.2"]:
    _check(version in ("1.6", "1.5", "1.2"), "--ocpp", f"{version!r} is none of 1.6, 1.5, 1.2")
    _check(version == "1.6" or transport == "soap", "--ocpp", f"{version} is spoken over SOAP: add --soap")
    return cast(Literal["1.6", "1.5", "1.2"], version)


def _host(url: str) -> str | None:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _check_output(output: str) -> None:
    _check(output in ("text", "json"), "--output", f"{output!r} is neither text nor json")


def _read_password(file: str) -> bytes:
    """The first line of a file, as bytes: a password need not be text."""
    try:
        return Path(file).read_bytes().partition(b"\n")[0].rstrip(b"\r")
    except OSError as problem:
        from wattbridge.config.files import reason_of

        raise typer.BadParameter(f"{file}: {reason_of(problem)}", param_hint="--password-file") from None


def _check_authorities(file: str) -> None:
    import ssl

    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise typer.BadParameter(f"{file}: no certificate in PEM is in it", param_hint="--ca") from None
    except OSError as problem:
        from wattbridge.config.files import reason_of

        raise typer.BadParameter(f"{file}: {reason_of(problem)}", param_hint="--ca") from None


def _check_zone(text: str, option: str) -> None:
    from wattbridge.config.values import read_zone

    try:
        read_zone(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def _check_identity(text: str, option: str) -> None:
    from wattbridge.config.values import read_identity

    try:
        read_identity(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def _check_name(text: str, option: str) -> None:
    from wattbridge.config.values import read_name

    try:
        read_name(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def _check_address(text: str, option: str) -> None:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no IP address", param_hint=option) from None


def _read_message(file: str) -> bytes:
    """The message to translate; a file that is far too large for one is not read to its end."""
    limit = 16 * 1024 * 1024  # bytes
    try:
        if file == "-":
            if sys.stdin.isatty():
                sys.stderr.write("reading one message from the terminal, end it with Ctrl-D\n")
            content = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(limit + 1)
    except OSError as problem:
        from wattbridge.config.files import reason_of

        raise typer.BadParameter(f"{file}: {reason_of(problem)}", param_hint="FILE") from None
    if len(content) > limit:
        raise typer.BadParameter(f"{file}: is larger than 16MiB", param_hint="FILE")
    return content
