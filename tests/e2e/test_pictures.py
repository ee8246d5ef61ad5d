"""Every board is drawn by Grafana's own components, dark and light, wide and narrow, without an error in any panel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.bundle.grafana.boards import dashboards
from tests.tools import pictures, stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
BOARDS = [name.removesuffix(".json") for name in dashboards()]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not shutil.which("node") or not (pictures.PREVIEW / "node_modules").exists():
        if os.environ.get("DQ_REQUIRE_STACK") == "1" and shutil.which("node"):
            stack.lacking("the preview's packages (npm ci in tests/tools/grafana-preview)")
        pytest.skip("needs Node and `npm ci` in tests/tools/grafana-preview")
    with pictures.prometheus(tmp_path_factory.mktemp("pictures"), days=8) as found:
        yield found


@pytest.mark.parametrize(("theme", "width"), [("dark", 1600), ("light", 1600), ("dark", 900), ("light", 900)])
def test_every_board_is_drawn_without_an_error(url: str, tmp_path: Path, theme: str, width: int) -> None:
    reports = pictures.draw(url, tmp_path, BOARDS, theme, width, expand=True)
    assert len(reports) == len(BOARDS)
    for report in reports:
        errors = {panel["title"]: panel["error"] for panel in report["panels"] if panel.get("error")}
        assert not errors, report.get("title")
        assert [panel["title"] for panel in report["panels"] if not panel.get("previewed", True)] in ([], ["Lineage"])
    assert len(list(tmp_path.glob("*.png"))) == len(BOARDS)
