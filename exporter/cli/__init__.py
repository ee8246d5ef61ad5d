"""The command line: where the parts are put together."""

from exporter.cli import bundling, commands, learning, sources
from exporter.cli.common import app

__all__ = ["app", "bundling", "commands", "learning", "main", "sources"]


def main() -> None:
    """Entry point of `dq-exporter`."""
    app()
