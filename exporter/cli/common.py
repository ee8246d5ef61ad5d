"""What all commands share: options, exit codes, and how they end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from exporter.config import Config, ConfigError, load
from exporter.daemon import Parts
from exporter.logs import set_up
from exporter.model import TableSpec
from exporter.store import StoreError

app = typer.Typer(
    name="dq-exporter", help="Tells Prometheus whether data can be trusted right now.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip
FINE, FAILED, TROUBLE = 0, 1, 2


class CheckFormat(StrEnum):
    """How `check` prints."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"


class TextFormat(StrEnum):
    """How `validate` and `explain` print."""

    TEXT = "text"
    JSON = "json"


class EngineChoice(StrEnum):
    """Which engine `check` may use."""

    AUTO = "auto"
    NATIVE = "native"
    SPARK = "spark"


ConfigOption = Annotated[Path, typer.Option("-c", "--config", envvar="DQ_EXPORTER_CONFIG", help="a file, a directory of *.yml, or a glob")]
Tables = Annotated[list[str] | None, typer.Argument(help="names of tables; all without any", metavar="[TABLE]...")]
DEFAULT_CONFIG = Path("dq-exporter.yml")


def fail(message: str) -> NoReturn:
    """Ends the command with a message and exit code 2."""
    typer.echo(message, err=True)
    raise typer.Exit(TROUBLE)


def load_config(path: Path) -> Config:
    """The configuration; its problems end the command."""
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        fail("\n".join(str(problem) for problem in error.problems))
    set_up(config.log.level, config.log.format, config.secrets)
    return config


def select(config: Config, names: Sequence[str] | None) -> list[TableSpec]:
    """The named tables, all without names; an unknown one ends the command."""
    known = {table.name: table for table in config.tables}
    if unknown := [name for name in names or () if name not in known]:
        fail(f"no enabled table {', '.join(unknown)} is configured; there are: {', '.join(sorted(known))}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


@contextmanager
def parts_of(config: Config, **options: object) -> Iterator[Parts]:
    """What evaluating needs, closed at the end; a store that cannot be opened ends the command."""
    try:
        parts = Parts.build(config, **options)  # type: ignore[arg-type]
    except StoreError as error:
        fail(str(error))
    try:
        yield parts
    finally:
        parts.close()
