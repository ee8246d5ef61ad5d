"""Real servers for tests: Prometheus and its tools, PostgreSQL, Chromium. Nothing is installed here.

Where something lacks, the test is skipped; with DQ_REQUIRE_STACK=1 (set by .ci/run) it fails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
_TEMPLATES = Path("/usr/share/prometheus/alertmanager")
_OTHER_NAMES = {"alertmanager": "prometheus-alertmanager"}


def lacking(what: str) -> NoReturn:
    """Skips the test, or fails it where the whole stack is required."""
    message = f"{what} not found: `.ci/run` installs it"
    if os.environ.get("DQ_REQUIRE_STACK") == "1":
        pytest.fail(message)
    pytest.skip(message)


def find_binary(name: str) -> Path:
    """A program under `.tools` (unpacked by get-debs.sh) or on the PATH; `alertmanager` is Debian's `prometheus-alertmanager`."""
    names = [name, *([_OTHER_NAMES[name]] if name in _OTHER_NAMES else [])]
    for place in ("usr/bin", "usr/libexec/docker/cli-plugins"):
        for candidate in names:
            found = sorted(TOOLS.glob(f"**/{place}/{candidate}"))
            if found:
                return found[0]
    for candidate in names:
        on_path = shutil.which(candidate)
        if on_path:
            return Path(on_path)
    lacking(f"program {name}")


def free_port() -> int:
    """A TCP port on the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def server(argv: Sequence[str | Path], ready: str, log: Path, timeout: float = 20) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that answers 200 at the URL `ready`; its output goes to `log`. It is stopped at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(list(map(str, argv)), stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        end = time.monotonic() + timeout
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{argv[0]} is not ready (exit code {process.poll()}):\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def prometheus(config: Path, data: Path, *flags: str) -> Iterator[str]:
    """A Prometheus with a configuration file; its URL. The first scrape comes 5 to 6 s after the start."""
    address = f"127.0.0.1:{free_port()}"
    argv = [
        find_binary("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}", "--web.enable-lifecycle", "--log.level=warn", *flags,
    ]  # fmt: skip
    with server(argv, f"http://{address}/-/ready", data.with_suffix(".log")):
        yield f"http://{address}"


@contextlib.contextmanager
def alertmanager(config: Path, data: Path, *flags: str) -> Iterator[str]:
    """An Alertmanager with a configuration file and no cluster; its URL."""
    program = find_binary("alertmanager")
    if program.name in _OTHER_NAMES.values() and not _TEMPLATES.exists():  # Debian's build reads them from there only
        lacking(f"{_TEMPLATES} (copy it from the directory of that name under .tools)")
    address = f"127.0.0.1:{free_port()}"
    argv = [
        program, f"--config.file={config}", f"--storage.path={data}",
        f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=warn", *flags,
    ]  # fmt: skip
    with server(argv, f"http://{address}/-/ready", data.with_suffix(".log")):
        yield f"http://{address}"


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of its own, empty and without a password; its URL for SQLAlchemy."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not programs:
        lacking("PostgreSQL server")
    binaries, port = programs[-1].parent, free_port()
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # not below pytest's directory, which other users cannot enter
    prefix: list[str] = []
    if os.geteuid() == 0:  # initdb refuses root
        shutil.chown(home, "postgres")
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]

    def run(program: str, *arguments: str) -> None:
        command = [*prefix, str(binaries / program), "-D", str(home / "data"), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=60)

    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c fsync=off -c full_page_writes=off"
    try:
        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        run("pg_ctl", "-w", "-t", "30", "-l", str(home / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


CHROMIUM_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""For playwright's `chromium.launch(executable_path=find_binary("chromium"), args=…)`, as root in a closed network."""
