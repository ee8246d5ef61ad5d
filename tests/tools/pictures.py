"""Draws dashboards with Grafana's own components against a Prometheus that has seen four weeks with incidents in them.

`python -m tests.tools.pictures docs/images overview table pipelines score` makes the pictures of the README.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.tools import history, stack

ROOT = Path(__file__).resolve().parents[2]
PREVIEW = Path(__file__).with_name("grafana-preview")
_BACKFILLED = ("job_table:dq_fresh:bool", "job:dq_exporter_up:ratio")


@contextlib.contextmanager
def prometheus(folder: Path, days: int = 28) -> Iterator[str]:
    """A Prometheus with the past of the made-up world, which goes on; its URL."""
    now, port, promtool = time.time(), stack.free_port(), stack.find_binary("promtool")
    data = folder / "tsdb"
    history.seed(promtool, data, now, days)
    server = history.serve(now, port, alerts=True)
    job = {"job_name": "dq-exporter", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}], "relabel_configs": [{"target_label": "instance", "replacement": history.INSTANCE}]}
    config: dict[str, Any] = {"global": {"scrape_interval": "2s", "evaluation_interval": "2s"}, "scrape_configs": [job]}
    try:
        (folder / "past.yml").write_text(json.dumps({}))
        with stack.prometheus(folder / "past.yml", data, "--query.lookback-delta=25m", "--storage.tsdb.retention.time=60d") as url:
            _backfill(promtool, folder, url, now, days)
        (folder / "prometheus.yml").write_text(json.dumps({**config, "rule_files": [str(ROOT / "alert_rules" / "recording.rules.yml")]}))
        with stack.prometheus(folder / "prometheus.yml", data, "--query.lookback-delta=25m", "--storage.tsdb.retention.time=60d") as url:
            time.sleep(15)  # the first scrape comes after 5 s, rules of rules two evaluations later
            yield url
    finally:
        server.shutdown()
        server.server_close()


def _backfill(promtool: Path, folder: Path, url: str, now: float, days: int) -> None:
    """The recordings whose past the objectives need."""
    from exporter.catalog.recordings import all_recordings

    rules = [{"record": one.name, "expr": str(one.expr)} for one in all_recordings() if one.name in _BACKFILLED]
    path = folder / "backfill.yml"
    path.write_text(json.dumps({"groups": [{"name": "past", "rules": rules}]}))
    start, end = int(now - (days - 1) * history.DAY), int(now - 60)
    argv = [promtool, "tsdb", "create-blocks-from", "rules", f"--start={start}", f"--end={end}", "--eval-interval=10m", f"--url={url}", f"--output-dir={folder / 'tsdb'}", path]
    subprocess.run(list(map(str, argv)), check=True, capture_output=True)


def draw(url: str, out: Path, boards: Sequence[str], theme: str = "dark", width: int = 1600, expand: bool = False) -> list[dict[str, Any]]:
    """Draws boards to `out`; the report of the preview, one object a board."""
    out.mkdir(parents=True, exist_ok=True)
    report = out / f"report-{theme}-{width}.json"
    argv = ["node", str(PREVIEW / "preview.mjs")]
    for board in boards:
        argv += ["--dashboard", str(ROOT / "dashboards" / f"{board}.json")]
    argv += ["--prometheus", url, "--out", f"{out}/", "--theme", theme, "--width", str(width), "--scale", "1", "--scrape-interval", "20m", "--timezone", "UTC"]
    argv += ["--var", "table=sales.orders", "--var", "pipeline=sales_daily", "--json", str(report), *(["--expand-rows"] if expand else [])]
    done = subprocess.run(argv, cwd=PREVIEW, capture_output=True, text=True, check=False, timeout=250)
    if not report.exists():
        raise RuntimeError(f"nothing was drawn:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = json.loads(report.read_text())
    report.unlink()
    return found if isinstance(found, list) else [found]


def main() -> None:
    """Draws the named boards into a directory."""
    out, boards = Path(sys.argv[1]).resolve(), sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder, prometheus(Path(folder)) as url:
        for board in draw(url, out, boards):
            bad = [panel["title"] for panel in board["panels"] if panel.get("error")]
            print(f"{board.get('title')}: {len(board['panels'])} panels" + (f", errors in {bad}" if bad else ""))


if __name__ == "__main__":
    main()
