"""The command line: where the parts are put together."""

from exporter.cli import commands, learning
from exporter.cli.common import app

__all__ = ["app", "commands", "learning", "main"]


def main() -> None:
    """Entry point of `dq-exporter`."""
    app()
