"""Dead letters, and the sources of pipelines."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from datetime import UTC
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from exporter.cli.common import DEFAULT_CONFIG, FAILED, FINE, ConfigOption, app, fail, load_config
from exporter.collect.receiving import kept_of
from exporter.collect.watched import Watched
from exporter.config import Config
from exporter.daemon import utc_now
from exporter.pipelines.base import Unreadable
from exporter.store import Ledger, Store, StoredLetter, StoreError

dlq = typer.Typer(help="Dead letters: what was collected or received and could not be understood.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")
sources = typer.Typer(help="Sources of pipeline runs.", no_args_is_help=True)
app.add_typer(sources, name="sources")


class Origin(StrEnum):
    """Whose dead letters."""

    COLLECTORS = "collectors"


From = Annotated[Origin, typer.Option("--from", help="whose dead letters")]
Numbers = Annotated[list[int] | None, typer.Argument(help="numbers of dead letters; all without any", metavar="[ID]...")]


def _ledger(config: Config) -> tuple[Store, Ledger]:
    try:
        store = Store.open(config.store.url, config.store.password)
    except StoreError as error:
        fail(str(error))
    return store, Ledger(store)


def _found(ledger: Ledger, numbers: list[int] | None) -> list[StoredLetter]:
    letters = ledger.letters(numbers or None)
    if numbers and (missing := sorted(set(numbers) - {one.id for one in letters})):
        fail(f"there is no dead letter {', '.join(map(str, missing))}; see `dq-exporter dlq list`")
    return letters


@dlq.command("list", epilog="Example: dq-exporter dlq list --from collectors")
def list_letters(config: ConfigOption = DEFAULT_CONFIG, origin: From = Origin.COLLECTORS) -> None:
    """Lists dead letters: number, source, time, reason."""
    store, ledger = _ledger(load_config(config))
    letters = ledger.letters()
    store.close()
    if not letters:
        typer.echo("no dead letters", err=True)
        return
    table = Table("id", "source", "at", "reason", box=None)
    for one in letters:
        table.add_row(str(one.id), escape(one.source), f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z", escape(one.reason))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@dlq.command("show", epilog="Example: dq-exporter dlq show 12")
def show_letter(number: Annotated[int, typer.Argument(metavar="ID")], config: ConfigOption = DEFAULT_CONFIG, origin: From = Origin.COLLECTORS) -> None:
    """Prints the payload of one."""
    store, ledger = _ledger(load_config(config))
    [one] = _found(ledger, [number])
    store.close()
    typer.echo(f"{one.source}, {one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z: {one.reason}", err=True)
    typer.echo(_pretty(one.payload))


@dlq.command("replay", epilog="Example: dq-exporter dlq replay 12 13")
def replay_letters(numbers: Numbers = None, config: ConfigOption = DEFAULT_CONFIG, origin: From = Origin.COLLECTORS) -> None:
    """Tries again to understand them: those that can be are worked on by the exporter, the others stay. Exit code 1 when some stay."""
    settings = load_config(config)
    store, ledger = _ledger(settings)
    letters, watched = _found(ledger, numbers), Watched(settings.watching, ledger.watches())
    replayed, reasons = [], {}
    for one in letters:
        try:
            _replay(ledger, watched, one)
            replayed.append(one.id)
        except (Unreadable, ValueError, TypeError, KeyError, AttributeError) as error:
            reasons[one.id] = str(error)
    ledger.drop_letters(replayed)
    store.close()
    typer.echo(f"{len(replayed)} of {len(letters)} replayed", err=True)
    for number, reason in reasons.items():
        typer.echo(f"{number}: {reason}", err=True)
    raise typer.Exit(FAILED if reasons else FINE)


def _replay(ledger: Ledger, watched: Watched, one: StoredLetter) -> None:
    spec = watched.sources.get(one.source)
    if spec is None:
        raise Unreadable(f"source {one.source} is no longer configured")
    payload = json.loads(one.payload)
    if not isinstance(payload, dict):
        raise Unreadable(f"the payload is no JSON object, but {type(payload).__name__}")
    name, said, events = kept_of(watched, spec, spec.model.understand(payload, one.at), one.at)
    ledger.receive(events, {name: list(said.flows)}, {name: list(said.tests)}, {}, utc_now())


@dlq.command("drop", epilog="Example: dq-exporter dlq drop 12")
def drop_letters(numbers: Numbers = None, config: ConfigOption = DEFAULT_CONFIG, origin: From = Origin.COLLECTORS) -> None:
    """Forgets dead letters for good."""
    store, ledger = _ledger(load_config(config))
    count = ledger.drop_letters([one.id for one in _found(ledger, numbers)])
    store.close()
    typer.echo(f"{count} dropped", err=True)


@sources.command("reset", epilog="Example: dq-exporter sources reset airflow_prod")
def reset(
    name: Annotated[str, typer.Argument(help="name of the source", metavar="SOURCE")],
    config: ConfigOption = DEFAULT_CONFIG,
    url: Annotated[str | None, typer.Option("--url", help="address of the running exporter; default: web.listen_address")] = None,
) -> None:
    """Closes the circuit breaker of a source of the running exporter and asks it at once."""
    settings = load_config(config)
    host, _, port = settings.web.listen_address.rpartition(":")
    base = (url or f"http://{host if host not in ('', '0.0.0.0', '[::]') else '127.0.0.1'}:{port}").rstrip("/")  # noqa: S104 - read, not bound
    request = urllib.request.Request(f"{base}/api/v1/sources/{name}/reset", b"", method="POST")  # noqa: S310 - the user's own address
    if settings.web.token:
        request.add_header("Authorization", f"Bearer {settings.web.token}")
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            typer.echo(f"{name} is asked now", err=True)
    except urllib.error.HTTPError as error:
        fail(f"{base}: {_said(error.read())}")
    except OSError as error:
        fail(f"no exporter answers at {base} ({error}); give its address with --url")


def _said(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:200]


def _pretty(payload: str) -> str:
    try:
        return json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except ValueError:
        return payload
