"""A workspace of Databricks as its Jobs API 2.2 shows it, with the habits that lose or double runs."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from tests.doubles.http_double import Double, Reply, Request

CLIENT, SECRET = "principal", "its-secret"


class Workspace(Double):
    """Runs that are started, ended, repaired, retried and deleted by a test.

    `page_cap` is below what is asked for; page tokens are positions, so rows move under them; lists leave `repair_history` out.
    """

    def __init__(self, page_cap: int = 3, order: str = "start_time") -> None:
        super().__init__()
        self.page_cap, self.order = page_cap, order
        self.rows: dict[int, dict[str, Any]] = {}
        self.jobs: dict[str, int] = {}
        self.tokens: dict[str, datetime] = {}
        """Tokens that are accepted and when they end; a workspace without any takes everything."""
        self.token_life = 3600.0
        self._ids = 1000

    def millis(self) -> int:
        """Now, as the API writes it."""
        return int(self.now.timestamp() * 1000)

    def start(self, job_id: int | None = 1, **more: Any) -> int:
        """A new run that is running; its id."""
        self._ids += 1
        run_id = self._ids
        self.rows[run_id] = {
            "run_id": run_id, "number_in_job": run_id, "original_attempt_run_id": run_id, "attempt_number": 0,
            "run_name": f"job {job_id}", "run_type": "JOB_RUN", "trigger": "PERIODIC", "start_time": self.millis(), "end_time": 0,
            "setup_duration": 0, "execution_duration": 0, "cleanup_duration": 0, "creator_user_name": "ops@example.com",
            "run_page_url": f"https://dbc.example.com/?o=1#job/{job_id}/run/{run_id}", "status": {"state": "RUNNING"},
            "state": {"life_cycle_state": "RUNNING", "state_message": ""}, **({"job_id": job_id} if job_id is not None else {}), **more,
        }  # fmt: skip
        return run_id

    def end(self, run_id: int, code: str = "SUCCESS", message: str = "", duration: int | None = None) -> None:
        """A run ends with a termination code."""
        row = self.rows[run_id]
        kind = "SUCCESS" if code.startswith("SUCCESS") else "CLIENT_ERROR"
        old = {"SUCCESS": "SUCCESS", "SUCCESS_WITH_FAILURES": "SUCCESS_WITH_FAILURES", "USER_CANCELED": "CANCELED"}.get(code, "FAILED")
        status = {"state": "TERMINATED", "termination_details": {"code": code, "type": kind, "message": message}}
        state = {"life_cycle_state": "TERMINATED", "result_state": old, "state_message": message}
        length = duration if duration is not None else self.millis() - row["start_time"]
        row.update(end_time=self.millis(), run_duration=length, status=status, state=state)
        history = row.get("_history")
        if history:
            history[-1].update(end_time=self.millis(), status=status, state=state)

    def repair(self, run_id: int) -> None:
        """An ended run runs again under its id."""
        row = self.rows[run_id]
        history = row.setdefault("_history", [
            {"type": "ORIGINAL", "start_time": row["start_time"], "end_time": row["end_time"], "status": row["status"], "state": row["state"]}
        ])  # fmt: skip
        running = {"state": "RUNNING"}
        history.append({"type": "REPAIR", "id": len(history), "start_time": self.millis(), "end_time": 0, "status": running, "state": {"life_cycle_state": "RUNNING"}})
        row.update(end_time=0, status=running, state={"life_cycle_state": "RUNNING"})

    def retry(self, run_id: int) -> int:
        """The job's retry policy starts another run for one that failed."""
        before = self.rows[run_id]
        return self.start(before["job_id"], original_attempt_run_id=before["original_attempt_run_id"], attempt_number=before["attempt_number"] + 1, trigger="RETRY")

    def delete(self, run_id: int) -> None:
        """A run is deleted."""
        del self.rows[run_id]

    def answer(self, request: Request) -> Reply:
        """As the API does."""
        if request.path == "/oidc/v1/token":
            return self._token(request)
        if self.tokens and not self._is_let_in(request):
            return Reply(401, {"error_code": "401", "message": "Credential was not sent or was of an unsupported type for this API."})
        match request.path:
            case "/api/2.2/jobs/runs/list":
                return self._list(request.query)
            case "/api/2.2/jobs/runs/get":
                return self._get(int(request.query["run_id"]))
            case "/api/2.2/jobs/list":
                found = self.jobs.get(request.query["name"])
                return Reply(body={"jobs": [{"job_id": found}]} if found else {})
        return Reply(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"No API found for 'GET {request.path}'"})

    def _list(self, query: dict[str, str]) -> Reply:
        limit = int(query.get("limit", 20))
        if limit > 25 or "offset" in query:
            return Reply(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "limit must be at most 25"})
        rows = [row for row in self.rows.values() if "job_id" not in query or str(row.get("job_id")) == query["job_id"]]
        if query.get("active_only") == "true":
            rows = [row for row in rows if not row["end_time"]]
        if query.get("completed_only") == "true":
            rows = [row for row in rows if row["end_time"]]
        rows.sort(key=lambda row: (row[self.order] or row["start_time"], row["run_id"]), reverse=True)
        offset, size = int(query.get("page_token", "0")), min(limit, self.page_cap)
        page = [_shown(row) for row in rows[offset : offset + size]]
        more = {"next_page_token": str(offset + size)} if offset + size < len(rows) else {}
        return Reply(body={**({"runs": page} if page else {}), "has_more": bool(more), **more})

    def _get(self, run_id: int) -> Reply:
        row = self.rows.get(run_id)
        if row is None:
            return Reply(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": f"Run {run_id} does not exist."})
        history = row.get("_history") or [{"type": "ORIGINAL", **{key: row[key] for key in ("start_time", "end_time", "status", "state")}}]
        return Reply(body={**_shown(row), "repair_history": history})

    def _token(self, request: Request) -> Reply:
        expected = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        form = parse_qs(request.body)
        if request.headers.get("Authorization") != f"Basic {expected}" or form.get("grant_type") != ["client_credentials"] or form.get("scope") != ["all-apis"]:
            return Reply(401, {"error": "invalid_client", "error_description": "Client authentication failed"})
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = self.now
        return Reply(body={"access_token": token, "token_type": "Bearer", "expires_in": int(self.token_life)})

    def _is_let_in(self, request: Request) -> bool:
        given = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        return given is not None and (self.now - given).total_seconds() < self.token_life


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.startswith("_")}
