"""A history server of Spark, or with `is_live` the REST API of a driver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from tests.doubles.http_double import Double, Reply, Request

_TIME = "%Y-%m-%dT%H:%M:%S"


def written(moment: datetime) -> str:
    """A time as Spark writes it."""
    return moment.strftime(_TIME) + f".{moment.microsecond // 1000:03d}GMT"


class HistoryServer(Double):
    """Applications that are started, ended, lost and cleaned away by a test."""

    def __init__(self, is_live: bool = False) -> None:
        super().__init__()
        self.is_live = is_live
        self.apps: dict[str, dict[str, Any]] = {}
        self.details: dict[str, dict[str, Any]] = {}
        self.hidden: set[str] = set()
        """Applications whose logs were not read yet."""
        self.broken: set[str] = set()
        """Applications whose details cannot be shown."""

    def start(self, name: str, attempt: str | None = None, app: str | None = None) -> str:
        """A new application, or a further attempt of one; its id."""
        app = app or f"application_17_{len(self.apps):04d}"
        row = {
            **({"attemptId": attempt} if attempt else {}), "startTime": written(self.now), "endTime": "1969-12-31T23:59:59.999GMT",
            "duration": 0, "sparkUser": "etl", "completed": False, "appSparkVersion": "4.2.0", "endTimeEpoch": -1, "startTimeEpoch": self._epoch(),
        }  # fmt: skip
        self.apps.setdefault(app, {"id": app, "name": name, "attempts": []})["attempts"].insert(0, row)
        self.details[f"{app}/{attempt}" if attempt else app] = {"jobs": [], "stages": [], "allexecutors": [], "environment": {"sparkProperties": []}}
        self.write(app, seconds=0 if self.is_live else 1)
        return app

    def write(self, app: str, seconds: float = 0) -> None:
        """The server reads something new of the newest attempt."""
        moment = self.now + timedelta(seconds=seconds)
        self.apps[app]["attempts"][0].update(lastUpdated=written(moment), lastUpdatedEpoch=int(moment.timestamp() * 1000))

    def end(self, app: str, *statuses: str, **details: Any) -> None:
        """The newest attempt ends with jobs in some states."""
        row = self.apps[app]["attempts"][0]
        row.update(completed=True, endTime=written(self.now), endTimeEpoch=self._epoch())
        self.write(app)
        self.tell(app, jobs=[{"jobId": number, "status": status, "name": "collect"} for number, status in enumerate(statuses or ("SUCCEEDED",))], **details)

    def tell(self, app: str, **details: Any) -> None:
        """Details of the newest attempt."""
        attempt = self.apps[app]["attempts"][0].get("attemptId")
        self.details[f"{app}/{attempt}" if attempt else app].update(details)

    def clean(self, app: str) -> None:
        """The log is deleted."""
        del self.apps[app]

    def answer(self, request: Request) -> Reply:
        """As Spark does."""
        path = [unquote(part) for part in request.path.split("/")[3:]]
        if path == ["version"]:
            return Reply(body={"spark": "4.2.0"})
        shown = {app: row for app, row in self.apps.items() if app not in self.hidden}
        if path == ["applications"]:
            return Reply(body=self._list(list(shown.values()), request.query))
        app = shown.get(path[1])
        if app is None:
            return Reply(404, f"unknown app: {path[1]}".encode(), (("Content-Type", "text/plain"),))
        if len(path) == 2:
            return Reply(body=app)
        found = self.details.get("/".join(path[1:-1]))
        if found is None or path[1] in self.broken:
            return Reply(404, f"no such app: {path[1]}".encode(), (("Content-Type", "text/plain"),))
        return Reply(body=found[path[-1]])

    def _list(self, apps: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
        least = datetime.strptime(query["minEndDate"], f"{_TIME}.%fGMT").replace(tzinfo=UTC).timestamp() * 1000 if "minEndDate" in query else -2
        wanted = [
            app for app in apps
            if any((row["completed"] and row["endTimeEpoch"] >= least) or (not row["completed"] and query.get("status") != "completed") for row in app["attempts"])
        ]  # fmt: skip
        wanted.sort(key=lambda app: -app["attempts"][0]["endTimeEpoch"])
        return wanted[: int(query.get("limit", len(wanted)))]

    def _epoch(self) -> int:
        return int(self.now.timestamp() * 1000)
