"""The command that renders dashboards, rules and routing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from exporter.bundle import files
from exporter.cli.common import DEFAULT_CONFIG, FAILED, ConfigOption, app, fail
from exporter.config import ConfigError, NotifySettings, load_section

_STACK = Path("deploy/dq-exporter.yml")


@app.command(epilog="Example: dq-exporter bundle -c dq-exporter.yml -o /etc/monitoring")
def bundle(
    config: ConfigOption = DEFAULT_CONFIG,
    output: Annotated[Path, typer.Option("-o", "--output", help="where dashboards/ and alert_rules/ are", metavar="DIR")] = Path(),
    check: Annotated[bool, typer.Option("--check", help="compare only; exit code 1 if a file differs")] = False,
) -> None:
    """Renders dashboards, rules, routing and runbooks; of the configuration only `notify` counts."""
    rendered = files.generated(_notify(config))
    if check:
        found = files.differences(output, rendered)
        for line in found:
            typer.echo(line)
        if found:
            typer.echo(f"{len(found)} of {len(rendered)} files are not as `{files.COMMAND}` makes them: run it", err=True)
            raise typer.Exit(FAILED)
        typer.echo(f"{len(rendered)} files are as generated")
        return
    try:
        changed = files.write(output, rendered)
    except OSError as error:
        fail(f"cannot write below {output}: {error.strerror or error}; name another directory with -o")
    typer.echo(f"{len(rendered)} files below {output}, {changed} changed")


def _notify(config: Path) -> NotifySettings:
    """The section `notify`; where the default configuration file does not exist, that of the compose stack, else the defaults."""
    if config == DEFAULT_CONFIG and not config.exists():
        config = _STACK
        if not config.exists():
            return NotifySettings()
    try:
        settings: NotifySettings = load_section(config, "notify", os.environ)
    except ConfigError as error:
        fail("\n".join(str(problem) for problem in error.problems))
    return settings
