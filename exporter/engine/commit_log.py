"""What each commit of a Delta table did, from its log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from urllib.parse import quote, unquote

from exporter.catalog.labels import Engine, TableFormat, Tier
from exporter.engine import worker
from exporter.engine.cancel import Cancel
from exporter.engine.native import NativeWorkers, table_ref
from exporter.engine.plan import Answers, Offer
from exporter.engine.snapshot import EngineError, Snapshot
from exporter.model import CommitInfo, Failure, Json, Measure, Measurement, Value

_KNOWN = frozenset(
    {
        "timestamp", "inCommitTimestamp", "operation", "operationParameters", "operationMetrics", "readVersion", "isolationLevel", "isBlindAppend",
        "engineInfo", "clientVersion", "txnId", "userId", "userName", "userMetadata", "job", "notebook", "clusterId", "tags", "version",
    }
)  # fmt: skip
"""Keys of commitInfo that writers fill by themselves; any other was given by whoever wrote."""


class CommitLog:
    """Answers COMMITS of Delta tables that the native workers can open; reads the log, no data."""

    engine: Engine | None = None

    def __init__(self, workers: NativeWorkers) -> None:
        self.workers = workers

    def offer(self, snapshot: Snapshot, wanted: Sequence[Measurement]) -> Offer:
        if snapshot.by_spark or snapshot.spec.format is not TableFormat.DELTA:
            return Offer({}, dict.fromkeys(wanted, f"{snapshot.spec.name} ({snapshot.spec.format}) has no log that is read without Spark"))
        commits = {one: Tier.METADATA for one in wanted if one.kind is Measure.COMMITS}
        return Offer(commits, {one: "the log has commits only" for one in wanted if one not in commits})

    def answer(self, snapshot: Snapshot, offer: Offer, cancel: Cancel) -> Answers:
        started = perf_counter()
        values: dict[Measurement, Value | Failure] = {}
        for one in offer.tiers:
            try:
                values[one] = self.workers.call(read_commits, (table_ref(snapshot.spec, snapshot), one.since, one.limit), cancel)
            except EngineError as error:
                values[one] = error.failure
        return Answers(values, {Tier.METADATA: perf_counter() - started})


def read_commits(ref: worker.TableRef, since: datetime | None, limit: int) -> tuple[CommitInfo, ...]:
    """The commits from `since` on up to the pinned version, at most `limit`, oldest first; runs in a worker. Raises EngineError."""
    try:
        found: list[tuple[int, list[Json]]] = []
        for version, actions in _newest_first(ref):
            found.append((version, actions))
            if (since is not None and _time(actions) < since) or (limit and len(found) >= limit):
                break
    except Exception as error:
        raise worker.translated(error, ref.path) from None
    found.reverse()
    rows, names = _rows_of_files(ref, found), worker.logical_names(ref)
    return tuple(commit(version, actions, rows, names) for version, actions in found if since is None or _time(actions) >= since)


def _newest_first(ref: worker.TableRef) -> Iterator[tuple[int, list[Json]]]:
    """The actions of each commit that the log still has, down from the pinned version without a gap."""
    import pyarrow.fs as pafs
    from deltalake.fs import DeltaStorageHandler

    files = pafs.PyFileSystem(DeltaStorageHandler(ref.path, dict(ref.storage) or None))
    version = ref.version if ref.version is not None else -1
    while version >= 0:
        path = f"_delta_log/{version:020d}.json"
        if files.get_file_info(path).type is pafs.FileType.NotFound:
            return
        with files.open_input_stream(path) as stream:
            yield version, [json.loads(line) for line in stream.read().decode().splitlines() if line.strip()]
        version -= 1


def _rows_of_files(ref: worker.TableRef, commits: Iterable[tuple[int, list[Json]]]) -> dict[str, int]:
    """Rows of every file that the commits or the pinned version name, where they are known."""
    rows = worker.rows_by_file(ref)
    for _, actions in commits:
        for action in actions:
            for kind in ("add", "remove"):
                if (entry := action.get(kind)) is not None and (count := _records(entry)) is not None:
                    rows.setdefault(unquote(entry["path"]), count)
    return rows


def _records(entry: Json) -> int | None:
    """Rows of a file without its deletion vector's, as its action says."""
    stats = entry.get("stats")
    count = json.loads(stats).get("numRecords") if stats else None
    return None if count is None else int(count)


def _time(actions: Sequence[Json]) -> datetime:
    info = _info(actions)
    stamp = info.get("inCommitTimestamp") or info.get("timestamp")
    if stamp is None:
        stamp = max((action["add"].get("modificationTime", 0) for action in actions if "add" in action), default=0)
    return datetime.fromtimestamp(stamp / 1000, UTC)


def _info(actions: Sequence[Json]) -> Json:
    return next((action["commitInfo"] for action in actions if "commitInfo" in action), {})


def commit(version: int, actions: Sequence[Json], rows: Mapping[str, int], names: Mapping[str, str]) -> CommitInfo:
    """One commit from the actions of its file; `rows` are the rows of data files by path, `names` of columns by their physical ones."""
    info = _info(actions)
    adds = [action["add"] for action in actions if "add" in action and action["add"].get("dataChange", True)]
    removes = [action["remove"] for action in actions if "remove" in action and action["remove"].get("dataChange", True)]
    parameters = info.get("operationParameters") or {}
    partitions: dict[str, int | None] = {}
    for entry in adds:
        value = _partition(entry, names)
        count, before = _live(entry, rows), partitions.get(value, 0)
        partitions[value] = None if count is None or before is None else before + count
    return CommitInfo(
        version, _time(actions), str(info.get("operation", "UNKNOWN")), str(parameters.get("mode", parameters.get("outputMode", ""))).capitalize(),
        bool(adds or removes) and info.get("operation") not in worker.IDLE_OPERATIONS, _sum(_live(entry, rows) for entry in adds),
        _sum(_live(entry, rows) for entry in removes), partitions, _tag(info, actions), _ranges(adds, names),
        frozenset(_partition(entry, names) for entry in removes),
    )  # fmt: skip


def _partition(entry: Json, names: Mapping[str, str]) -> str:
    """`column=value/…` of a file, "" where there are no partitions."""
    values = {names.get(name, name): text for name, text in (entry.get("partitionValues") or {}).items()}
    return "/".join(f"{name}={quote('' if text is None else str(text), safe=' :')}" for name, text in sorted(values.items()))


def _ranges(adds: Sequence[Json], names: Mapping[str, str]) -> dict[str, tuple[float, float] | tuple[str, str]]:
    """Least and greatest value of each column over the added files, where every file has both as plain numbers or texts."""
    merged: dict[str, Any] = {}
    for place, entry in enumerate(adds):
        stats = json.loads(entry.get("stats") or "{}")
        least, most = stats.get("minValues") or {}, stats.get("maxValues") or {}
        here = {name: (least[name], most[name]) for name in least if name in most and type(least[name]) is type(most[name]) and isinstance(least[name], int | float | str)}
        if place == 0:
            merged = here
        else:
            common = [name for name in merged if name in here and isinstance(here[name][0], str) == isinstance(merged[name][0], str)]
            merged = {name: (min(merged[name][0], here[name][0]), max(merged[name][1], here[name][1])) for name in common}
    return {names.get(name, name): bounds for name, bounds in merged.items()}


def _live(entry: Json, rows: Mapping[str, int]) -> int | None:
    count = rows.get(unquote(entry["path"]))
    return None if count is None else count - int((entry.get("deletionVector") or {}).get("cardinality", 0))


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def _tag(info: Json, actions: Sequence[Json]) -> str | None:
    """What the writer says identifies its run or batch: its own metadata, a transaction id, or Databricks' run."""
    own: dict[str, Any] = {key: value for key, value in info.items() if key not in _KNOWN}
    if info.get("userMetadata"):
        own["userMetadata"] = info["userMetadata"]
    for action in actions:
        if "txn" in action:
            own["txn"] = f"{action['txn']['appId']}/{action['txn']['version']}"
    if not own and (run := (info.get("job") or {}).get("jobRunId") or (info.get("job") or {}).get("runId")):
        own["run"] = run
    return json.dumps(own, sort_keys=True) if own else None
