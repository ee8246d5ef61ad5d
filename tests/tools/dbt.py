"""A real dbt with DuckDB, in an environment of its own under `.tools/dbt`; it is made when it lacks.

dbt 1.12 needs a parser that downloads a program while it is installed, so the version before it is taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tools.stack import TOOLS, lacking

REQUIREMENTS = ("dbt-core>=1.11,<1.12", "dbt-duckdb>=1.10,<1.12")
_HOME = TOOLS / "dbt"


def find_dbt() -> Path:
    """The program; where it cannot be had the test is skipped, or fails where the whole stack is required."""
    program, done = _HOME / "bin" / "dbt", _HOME / ".installed"
    if not done.exists():
        for command in ([sys.executable, "-m", "venv", "--clear", _HOME], [_HOME / "bin" / "python", "-m", "pip", "install", "--quiet", *REQUIREMENTS]):
            made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
            if made.returncode:
                lacking(f"dbt ({made.stderr.strip()[-300:]})")
        done.touch()
    return program


class DbtProject:
    """A project on disk with a DuckDB of its own."""

    def __init__(self, directory: Path, files: dict[str, str]) -> None:
        self.directory, self.target = directory, directory / "target"
        settings = "name: shop\nversion: '1.0'\nprofile: shop\nmodel-paths: [models]\nseed-paths: [seeds]\ntest-paths: [tests]\n"
        profiles = "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb, threads: 1}}}\n"
        for name, text in {"dbt_project.yml": settings, "profiles.yml": profiles, **files}.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)

    def run(self, *arguments: str) -> int:
        """Runs a command of dbt to its end; its exit code."""
        with self.start(*arguments) as process:
            return process.wait(120)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a command of dbt; what it says goes to `output.log`."""
        environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DBT_PROFILES_DIR": str(self.directory)}
        with (self.directory / "output.log").open("wb") as output:
            return subprocess.Popen([find_dbt(), "--no-use-colors", *arguments], cwd=self.directory, env=environment, stdout=output, stderr=subprocess.STDOUT)

    def output(self) -> str:
        """What the last command said."""
        return (self.directory / "output.log").read_text(errors="replace")
