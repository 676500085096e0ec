"""The commands ``run``, ``play``, ``serve`` and ``config`` of ``koshelek-contract``.

Options are explained here and judged in ``config``. Imports what it needs when a command runs.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from contracts.kit.terminal import fail

if TYPE_CHECKING:
    from contracts.suite.config import Options
    from contracts.suite.language import Language as Spoken

CANNOT_RUN = 2
"""Exit status: nothing is known about the service."""
EXIT_STATUS = {"keeps": 0, "breaks": 1, "unknown": CANNOT_RUN}

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of options; $KLO_CONFIG.")]
Login = Annotated[str | None, typer.Option(help="User name of the service.")]
PasswordFile = Annotated[Path | None, typer.Option(help="File that holds its password.")]
BasePath = Annotated[str | None, typer.Option(help="Path between the host and /v1.")]
CaFile = Annotated[Path | None, typer.Option(help="PEM file of the authority that signed the certificate.")]
Language = Annotated[
    str | None, typer.Option(help="en or ru; unset: Russian where the locale is.", metavar="en|ru")
]
Timeout = Annotated[float | None, typer.Option(help="Seconds to wait for one answer.")]


def _fail(message: str) -> NoReturn:
    fail(message, CANNOT_RUN)


def _options(config: Path | None, **given: Any) -> tuple[Options, str]:
    """Options and password, or exit status 2."""
    from contracts.suite.config import ConfigError, read_options

    try:
        options = read_options(given, config)
        return options, options.secret
    except ConfigError as error:
        _fail(str(error))


def _spoken(options: Options) -> Spoken:
    from contracts.suite.language import by_locale, language

    return language(options.language or by_locale())


def run(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=]URL...", help="Base URLs; several are compared.")
    ] = None,
    config: ConfigFile = None,
    login: Login = None,
    password_file: PasswordFile = None,
    api_version: Annotated[str | None, typer.Option(help="Version of the contract: 1.0.0 to 1.3.0.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="read changes nothing, but tries wrong passwords and hostile texts, and reads the lists of "
            "all users; full issues cards and sends receipts too."
        ),
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="Clauses that are not official count as failures too.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="KLO-3, KLO-3-02 or the beginning of a check's name; may be given again."),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="What to leave out, named as for --only; again for more.")
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="Clauses that have to be judged: KLO-10, official, money, identity; again for more."
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="YAML file of accepted breaches: check or clause, and the reason.")
    ] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(help="Write such a file of what this run finds broken.")
    ] = None,
    max_skips: Annotated[
        int | None, typer.Option(help="Checks that may be skipped; more fail the run.")
    ] = None,
    base_path: BasePath = None,
    ca_file: CaFile = None,
    timeout: Timeout = None,
    parallel: Annotated[int | None, typer.Option(help="Checks under way at once.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second at most.")] = None,
    report_dir: Annotated[Path | None, typer.Option(help="Folder for the reports.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Report folder of a run that ended early: what it judged is taken from there."),
    ] = None,
    language: Language = None,
    show_values: Annotated[
        bool | None,
        typer.Option(
            "--show-values",
            help="Write values.txt beside the reports: failed exchanges with everybody's values, for this "
            "machine alone.",
        ),
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="List the clauses and their checks, test nothing.")
    ] = False,
) -> None:
    """Tell whether a service keeps the Loyalty Online API.

    Every option may also be an environment variable (KLO_LOGIN) or a key of the YAML file; so are the people
    to test with: koshelek-contract config prints a file with all of them. Several services share one login,
    unless `targets` of the file gives them their own. Exit status: 0 it keeps the contract, 1 it does not,
    2 it could not be tested.
    """
    options, password = _options(
        config,
        urls=urls or None,
        login=login,
        password_file=password_file,
        api_version=api_version,
        profile=profile,
        strict=strict,
        only=only or None,
        without=without or None,
        require=require or None,
        max_skips=max_skips,
        baseline=baseline,
        base_path=base_path,
        ca_file=ca_file,
        timeout=timeout,
        parallel=parallel,
        rate=rate,
        report_dir=report_dir,
        resume=resume,
        language=language,
        show_values=show_values,
    )
    if options.show_values and options.report_dir is None:
        _fail("--show-values: needs --report-dir, as the values go into a file there")
    if not listing:
        _can_be_written(options.report_dir, write_baseline)
    from contracts.suite import runner, summary

    say = _spoken(options)
    try:
        if listing:
            typer.echo(runner.list_clauses(options))
            return
        found = asyncio.run(
            runner.run(
                options, password, summary.Progress(say) if sys.stdout.isatty() else None, interruptible=True
            )
        )
    except runner.CannotRun as error:
        _fail("\n".join(map(say.sentence, str(error).splitlines())))
    except KeyboardInterrupt:
        _fail("interrupted")
    typer.echo(summary.text(found, say))
    if write_baseline is not None:
        from contracts.suite.baseline import text

        broken = [result for target in found.targets for result in target.results]
        try:
            write_baseline.write_text(text(broken), encoding="utf-8")
        except OSError as error:
            _fail(f"cannot write {write_baseline}: {error.strerror}")
    if options.report_dir is not None:
        from contracts.suite.report import write_reports

        try:
            written = write_reports(found, options.report_dir, say)
        except OSError as error:
            _fail(f"cannot write into {options.report_dir}: {error.strerror}")
        typer.echo(f"{say('Reports')}: {', '.join(str(path) for path in written)}")
    raise typer.Exit(EXIT_STATUS[found.outcome])


def _can_be_written(reports: Path | None, accepted: Path | None) -> None:
    """What could not be kept is not found out: exit status 2 before the service is asked anything."""
    from contracts.kit.writing import why_no_file, why_no_folder

    if reports is not None and (reason := why_no_folder(reports)) is not None:
        _fail(f"cannot write into {reports}: {reason}")
    if accepted is not None and (reason := why_no_file(accepted)) is not None:
        _fail(f"cannot write {accepted}: {reason}")


def play(
    url: Annotated[str | None, typer.Argument(help="Base URL.")] = None,
    call: Annotated[str | None, typer.Argument(help="A call, or `scenario`; see --list.")] = None,
    what: Annotated[str | None, typer.Argument(help="Card number, or the name of the scenario.")] = None,
    msisdn: Annotated[str | None, typer.Option(help="Phone, digits with the country code.")] = None,
    email: Annotated[str | None, typer.Option(help="E-mail.")] = None,
    birth_date: Annotated[str | None, typer.Option(help="YYYY-MM-DD.")] = None,
    card: Annotated[str | None, typer.Option(help="Card number of a receipt or promo code.")] = None,
    qr: Annotated[str | None, typer.Option(help="QR text of a receipt; unset: a made-up sale.")] = None,
    code: Annotated[str | None, typer.Option(help="Promo code.")] = None,
    start: Annotated[str | None, typer.Option(help="First day of purchases, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last day of purchases, YYYY-MM-DD.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Channel that is allowed; may be given again.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option(help="Channel that is denied; may be given again.")
    ] = None,
    body: Annotated[str | None, typer.Option(help="Body in place of the one that would be made.")] = None,
    config: ConfigFile = None,
    login: Login = None,
    password_file: PasswordFile = None,
    api_version: Annotated[
        str | None, typer.Option(help="Version, for scenarios and made-up people.")
    ] = None,
    base_path: BasePath = None,
    ca_file: CaFile = None,
    timeout: Timeout = None,
    language: Language = None,
    masked: Annotated[
        bool, typer.Option("--masked", help="Show personal values masked, as in reports.")
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="List calls and scenarios.")] = False,
) -> None:
    """Make one call, or one scenario, as Koshelek would, and show what went over the wire.

    Credentials are never shown. Exit status: 0 every call was answered 200, 1 not, 2 it could not be made.
    """
    from contracts.suite import playing

    if listing or call is None:
        typer.echo(playing.list_calls())
        return
    options, password = _options(
        config,
        urls=[url] if url else None,
        login=login,
        password_file=password_file,
        api_version=api_version,
        base_path=base_path,
        ca_file=ca_file,
        timeout=timeout,
        language=language,
        profile="full",
    )
    spoken = _spoken(options)
    given = playing.Given(
        what=what, msisdn=msisdn, email=email, birth_date=birth_date, card=card, qr=qr, code=code,
        start=start, end=end, allow=tuple(allow or ()), deny=tuple(deny or ()), body=body,
    )  # fmt: skip
    try:
        playing_it = playing.play(options, password, call, given, typer.echo, masked=masked, language=spoken)
        well = asyncio.run(playing_it)
    except playing.CannotPlay as error:
        _fail(spoken.sentence(str(error)))
    except KeyboardInterrupt:
        _fail("interrupted")
    if not well:
        raise typer.Exit(1)


def serve(
    config: ConfigFile = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8096,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others reach needs the printed token.")
    ] = "127.0.0.1",
    language: Language = None,
) -> None:
    """Test services and play Koshelek's phone in a browser, until Ctrl-C.

    What is typed there, passwords included, and all runs stay in the memory of this process. --config: what
    the form shows at first.
    """
    options, _ = _options(config, language=language)
    import secrets

    from contracts.kit.listening import listen_error, stopped
    from contracts.kit.pages import is_local

    try:
        from contracts.suite.pages.app import serving
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; pip install 'koshelek-adapter[suite]' brings it")
    token = None if is_local(host) else secrets.token_urlsafe(18)

    async def until_stopped() -> None:
        async with serving(host, port, options, token) as address:
            end = stopped()
            typer.echo(f"Open {address} (Ctrl-C ends it)")
            if token is not None:
                typer.echo(
                    f"From elsewhere it is the same with the name of this machine, port {port or 'as above'}."
                )
                typer.echo("This is plain HTTP: put a proxy with TLS in front where others can listen.")
            await end.wait()

    try:
        asyncio.run(until_stopped())
    except OSError as error:
        _fail(listen_error(error, host, port))


def config() -> None:
    """Print a commented YAML file of all options, for `run --config` and `play --config`."""
    from contracts.suite.reference import sample

    typer.echo(sample(), nl=False)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(run)
    app.command()(play)
    app.command()(serve)
    app.command()(config)
