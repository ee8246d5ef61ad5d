"""What the REST API of Spark tells of one application: when it ended, why it failed, what it used; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from exporter.catalog.labels import Resource
from exporter.model import Json
from exporter.pipelines.base import Unreadable, class_in, parse_time, run_error
from exporter.pipelines.run import RunError

_FRAME = re.compile(r"^\s+at \S+\(.*?\)\s*$\n?|^\s+\.\.\. \d+ more\s*$\n?|^Driver stacktrace:\s*$\n?", re.MULTILINE)
_HARMLESS = re.compile(r"killed by driver|decommission|idle|exited? with (?:exit )?(?:code|status) 0\b|exited normally", re.IGNORECASE)
"""Reasons for which executors leave although nothing is wrong."""
_LOSS = re.compile(r"ExecutorLost|executor \S+ (?:exited|lost)|lost executor|heartbeat timed out|worker lost|container .*(?:killed|released|failed)|slave lost", re.IGNORECASE)
_CONDITION = re.compile(r"\[([A-Z][A-Z_]{3,60})(?:\.[A-Z_]+)?\]")
_MEMORY = re.compile(r"exited with code 137\b", re.IGNORECASE)
"""What a worker says of an executor that the kernel killed; what other systems say is known to `class_in`."""
_OOM_HINT = "; raise spark.executor.memory or spark.executor.memoryOverhead, or use more partitions"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?", re.IGNORECASE)
_POWER = {"k": 1, "m": 2, "": 2, "g": 3, "t": 4, "p": 5}
"""A bare number of spark.executor.memory counts MiB."""


def attempt_number(row: Any) -> int:
    """1 where attempts have no ids; else the number that the id is, or ends in. Raises Unreadable."""
    if not isinstance(row, dict):
        raise Unreadable("an attempt is not an object")
    text = str(row.get("attemptId") or "1")
    found = re.search(r"(\d{1,9})$", text)
    if not found:
        raise Unreadable(f"attemptId {text[:60]!r} has no number")
    return max(1, int(found[1]))


def ended(row: Json) -> datetime | None:
    """When a completed attempt ended; Spark writes the last moment of 1969 for never. Raises Unreadable."""
    if row.get("completed") is not True:
        return None
    epoch = row.get("endTimeEpoch")
    end = parse_time(epoch if epoch is not None else row.get("endTime"))
    return end if end and end.timestamp() > 0 else parse_time(row.get("lastUpdatedEpoch") or row.get("lastUpdated"))


def last_sign(row: Json, parts: Sequence[Json]) -> datetime | None:
    """The last that an attempt did before it was lost. When the server read its log says less: after a restart it reads all logs again."""
    moments = [moment for part in parts for name in ("submissionTime", "completionTime") if (moment := parse_time(part.get(name)))]
    updated = parse_time(row.get("lastUpdatedEpoch") or row.get("lastUpdated"))
    return max(moments) if moments else updated


def failure(is_lost: bool, jobs: Sequence[Json], stages: Sequence[Json], executors: Sequence[Json]) -> RunError:
    """Why an application failed: the last failed stage, and executors that were lost; memory counts most, then lost executors."""
    failed = sorted((stage for stage in stages if stage.get("failureReason")), key=lambda stage: (str(stage.get("completionTime") or ""), _int(stage, "stageId")))
    reason = _shortened(_FRAME.sub("", str(failed[-1]["failureReason"])).strip()) if failed else ""
    gone = [executor for executor in executors if executor.get("removeReason") and not _HARMLESS.search(str(executor["removeReason"]))]
    told = [f"executor {executor.get('id')}: {str(executor['removeReason']).strip()[:300]}" for executor in gone[-3:]]
    everything = "\n".join([reason, *told])
    broken = [job for job in jobs if job.get("status") != "SUCCEEDED"]
    if is_lost:
        lead = "the application has not ended and nothing more was heard of it: the driver was killed or its host was lost"
    else:
        lead = f"{len(broken)} of {len(jobs)} jobs failed"
    if class_in(everything) == "OutOfMemory" or _MEMORY.search(everything):
        return run_error("OutOfMemory", f"{lead}{_OOM_HINT}\n{everything}")
    if gone or _LOSS.search(reason):
        return run_error("ExecutorLost", f"{lead}\n{everything}")
    condition = _CONDITION.search(reason)
    name = class_in(reason) or (condition[1] if condition else "JobFailed")
    return run_error("AppLost" if is_lost else name, f"{lead}\n{everything}")


def _shortened(text: str) -> str:
    """The beginning and the end of a long text: the end of a traceback names the error."""
    return text if len(text) <= 1300 else f"{text[:400]}\n…\n{text[-900:]}"


def failed_tasks(executors: Sequence[Json]) -> int | None:
    """Failed tasks on all executors; None while they are not known."""
    return sum(_int(executor, "failedTasks") for executor in executors) if executors else None


def resources(stages: Sequence[Json], executors: Sequence[Json], properties: Mapping[str, Any], started: datetime | None, ended: datetime | None) -> dict[Resource, float]:
    """Peak heap of the fullest executor to its memory, and time on CPUs to time of tasks (or of cores), as ratios 0 to 1."""
    found: dict[Resource, float] = {}
    workers = [executor for executor in executors if executor.get("id") != "driver"]
    role, ones = ("executor", workers) if workers else ("driver", list(executors))  # in local mode the driver does the work
    given = memory(properties.get(f"spark.{role}.memory", "1g"))
    peak = max((_int(one["peakMemoryMetrics"], "JVMHeapMemory") for one in ones if isinstance(one.get("peakMemoryMetrics"), dict)), default=0)
    if given and peak > 0:
        found[Resource.MEMORY] = min(1.0, peak / given)
    used = sum(_int(stage, "executorCpuTime") for stage in stages) / 1e9
    span = sum(_int(stage, "executorRunTime") for stage in stages) / 1e3
    if span <= 0 and started and ended:
        span = (ended - started).total_seconds() * sum(_int(one, "totalCores") for one in ones)
    if used > 0 and span > 0:
        found[Resource.CPU] = min(1.0, used / span)
    return found


def memory(text: Any) -> int | None:
    """Bytes of a size as the JVM writes it: `512m`, `2g`; a bare number is MiB."""
    found = _SIZE.fullmatch(str(text).strip())
    return int(float(found[1]) * 1024 ** _POWER[found[2].lower()]) if found else None


def _int(row: Json, name: str) -> int:
    value = row.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e18 else 0  # noqa: PLR0124 - NaN
