"""What runs in a native worker process: opening Delta and Parquet tables and running SQL on them with DataFusion.

Only this module imports deltalake and datafusion. A running DataFusion query cannot be cancelled, so the process
is killed at the timeout; it takes plain data and gives plain data back.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from exporter.engine.snapshot import EngineError, redacted
from exporter.model import Column, Commit, Reason

IDLE_OPERATIONS = frozenset(
    {
        "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "SET TABLE PROPERTIES",
        "CHANGE COLUMN", "CHANGE COLUMNS", "ADD COLUMNS", "ADD COLUMN", "DROP COLUMNS", "RENAME COLUMN", "ADD CONSTRAINT",
        "DROP CONSTRAINT", "REORG", "UPGRADE PROTOCOL", "COMPUTE STATS", "CLUSTER BY", "FSCK", "DELETE", "CREATE TABLE",
        "ADD FEATURE", "DROP FEATURE", "SET COLUMN METADATA", "UPDATE COLUMN METADATA", "UPDATE SCHEMA",
    }
)  # fmt: skip
"""Operations that bring no new data, so they do not refresh a table."""
_ADDRESS_SPACE_BESIDE_QUERIES = 6 * 2**30


@dataclass(frozen=True)
class TableRef:
    """How a worker opens a table; `storage` are sorted options of the object store."""

    format: str
    path: str
    version: int | None = None
    storage: tuple[tuple[str, str], ...] = ()
    deletion_vectors: bool = False


@dataclass(frozen=True)
class Opened:
    """What a worker found at a path."""

    schema: tuple[Column, ...]
    version: int | None
    rows: int | None
    bytes: int | None
    files: int | None
    commit: Commit | None
    partition_columns: tuple[str, ...]
    partitions: Mapping[str, Mapping[str, int | None]]
    deletion_vectors: bool


def initialise(memory_bytes: int) -> None:
    """Fences the process: its address space, and its life by that of its parent."""
    limit = memory_bytes + _ADDRESS_SPACE_BESIDE_QUERIES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    parent = os.getppid()

    def die_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=die_with_parent, daemon=True).start()


@lru_cache(maxsize=4)
def _delta(path: str, version: int | None, storage: tuple[tuple[str, str], ...]) -> Any:
    from deltalake import DeltaTable

    return DeltaTable(path, version=version, storage_options=dict(storage) or None)


def open_table(ref: TableRef) -> Opened:
    """Schema, version and metadata of a table. Raises EngineError."""
    try:
        return _open_delta(ref) if ref.format == "delta" else _open_parquet(ref)
    except EngineError:
        raise
    except Exception as error:
        raise translated(error, ref.path) from None


def _open_delta(ref: TableRef) -> Opened:
    import json

    import pyarrow as pa
    from deltalake import DeltaTable

    if "://" not in ref.path and not Path(ref.path, "_delta_log").is_dir():
        next(Path(ref.path).iterdir(), None)  # tells permission from absence
        raise EngineError(Reason.TABLE_NOT_FOUND, f"{ref.path} is no Delta table: it has no _delta_log; is `format` right?")
    table = DeltaTable(ref.path, version=ref.version, storage_options=dict(ref.storage) or None)
    fields = json.loads(table.schema().to_json())["fields"]
    actions = pa.table(table.get_add_actions(flatten=True))
    counts = _live_rows(table, actions)
    columns = tuple(table.metadata().partition_columns)
    partitions = {name: _partition(actions.column(f"partition.{name}").to_pylist(), counts) for name in columns if f"partition.{name}" in actions.column_names}
    sizes = int(pa.compute.sum(actions.column("size_bytes")).as_py() or 0) if actions.num_rows else 0
    schema = tuple(Column(field["name"], _column_type(field), field["nullable"]) for field in fields)
    return Opened(
        schema, table.version(), _total(counts), sizes, actions.num_rows, _last_commit(table), columns, partitions, bool(_deleted_rows(table))
    )


def _live_rows(table: Any, actions: Any) -> list[int | None]:
    """Rows of each data file without those that deletion vectors remove; None where the log has no count."""
    known = actions.column("num_records").to_pylist() if "num_records" in actions.column_names else [None] * actions.num_rows
    deleted = _deleted_rows(table)
    if not deleted:
        return known
    names = [unquote(path).rsplit("/", 1)[-1] for path in actions.column("path").to_pylist()]
    return [None if count is None else count - deleted.get(name, 0) for name, count in zip(names, known, strict=True)]


def _deleted_rows(table: Any) -> dict[str, int]:
    """Rows that deletion vectors remove, by name of the data file."""
    import pyarrow as pa

    deleted: dict[str, int] = {}
    if _reads_deletion_vectors(table):
        for batch in map(pa.record_batch, table.deletion_vectors()):
            for path, mask in zip(batch.column("filepath").to_pylist(), batch.column("selection_vector").to_pylist(), strict=True):
                name = unquote(path).rsplit("/", 1)[-1]
                deleted[name] = deleted.get(name, 0) + len(mask) - sum(mask)
    return {name: rows for name, rows in deleted.items() if rows}


def logical_names(ref: TableRef) -> dict[str, str]:
    """Names of columns by their physical ones, for tables with column mapping."""
    import json

    fields = json.loads(_delta(ref.path, ref.version, ref.storage).schema().to_json())["fields"]
    return {str((field.get("metadata") or {}).get("delta.columnMapping.physicalName", field["name"])): field["name"] for field in fields}


def rows_by_file(ref: TableRef) -> dict[str, int]:
    """Rows that the files of a Delta version were written with (deletion vectors not counted), by path in the table."""
    import pyarrow as pa

    actions = pa.table(_delta(ref.path, ref.version, ref.storage).get_add_actions(flatten=True))
    if "num_records" not in actions.column_names:
        return {}
    pairs = zip(actions.column("path").to_pylist(), actions.column("num_records").to_pylist(), strict=True)
    return {unquote(path): int(count) for path, count in pairs if count is not None}


def _partition(values: Sequence[Any], counts: Sequence[int | None]) -> dict[str, int | None]:
    """Rows of each value of a partition column; rows without a value belong to none."""
    rows: dict[str, list[int | None]] = {}
    for value, count in zip(values, counts, strict=True):
        if value is not None:
            rows.setdefault(_partition_text(value), []).append(count)
    return {value: _total(found) for value, found in sorted(rows.items())}


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _reads_deletion_vectors(table: Any) -> bool:
    return "deletionVectors" in (table.protocol().reader_features or ())


def _partition_text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _last_commit(table: Any) -> Commit | None:
    """The newest commit that brought data."""
    for entry in table.history(100):
        if entry.get("operation") not in IDLE_OPERATIONS and "timestamp" in entry:
            version = entry.get("version", table.version())
            return Commit(int(version), datetime.fromtimestamp(entry["timestamp"] / 1000, UTC))
    return None


def _column_type(field: Mapping[str, Any]) -> str:
    """The type of a column; Spark keeps char(n) and varchar(n) beside the type."""
    return str((field.get("metadata") or {}).get("__CHAR_VARCHAR_TYPE_STRING") or _delta_type(field["type"]))


def _delta_type(type_: Any) -> str:
    """Spark's simple string of a type in Delta's schema JSON."""
    if isinstance(type_, str):
        return {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}.get(type_, type_)
    match type_["type"]:
        case "struct":
            inner = ",".join(f"{field['name']}:{_delta_type(field['type'])}" for field in type_["fields"])
            return f"struct<{inner}>"
        case "array":
            return f"array<{_delta_type(type_['elementType'])}>"
        case "map":
            return f"map<{_delta_type(type_['keyType'])},{_delta_type(type_['valueType'])}>"
    return str(type_["type"])


def _open_parquet(ref: TableRef) -> Opened:
    Path(ref.path).stat()  # tells permission from absence
    dataset = _parquet(ref.path)
    files = list(dataset.get_fragments())
    schema = tuple(Column(field.name, _arrow_type(field.type), field.nullable) for field in dataset.schema)
    rows = sum(fragment.count_rows() for fragment in files)
    size = sum(Path(fragment.path).stat().st_size for fragment in files)
    return Opened(schema, None, rows, size, len(files), None, (), {}, False)


def _parquet(path: str) -> Any:
    """The files at a path, with hive partition columns typed as Spark types them: integers and dates, else text."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    form = ds.ParquetFileFormat(coerce_int96_timestamp_unit="us")

    def dataset(partitioning: Any, schema: Any = None) -> Any:
        return ds.dataset(path, schema=schema, format=form, partitioning=partitioning, exclude_invalid_files=False, ignore_prefixes=["_", "."])

    found = dataset("hive")
    instants = _int96_columns(found)
    schema = pa.schema([pa.field(f.name, pa.timestamp("us", "UTC"), f.nullable) if f.name in instants else f for f in found.schema]) if instants else None
    if schema is not None:
        found = dataset("hive", schema)
    names = dict.fromkeys(key for fragment in found.get_fragments() for key in ds.get_partition_keys(fragment.partition_expression))
    values = {name: {ds.get_partition_keys(fragment.partition_expression).get(name) for fragment in found.get_fragments()} for name in names}
    dated = [name for name in names if all(value is None or _is_date(value) for value in values[name])]
    if not dated:
        return found
    fields = [pa.field(name, pa.date32() if name in dated else found.schema.field(name).type) for name in names]
    typed = pa.schema(fields)
    if schema is not None:
        schema = pa.schema([typed.field(f.name) if f.name in names else f for f in schema])
    return dataset(ds.partitioning(typed, flavor="hive"), schema)


def _int96_columns(dataset: Any) -> frozenset[str]:
    """Top-level columns that are INT96, which Spark and Arrow write for instants, though Arrow reads them without a zone."""
    fragment = next(iter(dataset.get_fragments()), None)
    if fragment is None:
        return frozenset()
    found = fragment.metadata.schema
    return frozenset(found.column(i).path for i in range(len(found)) if found.column(i).physical_type == "INT96")


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and len(value) == 10 and date.fromisoformat(value) is not None
    except ValueError:
        return False


def _arrow_type(type_: Any) -> str:
    """Spark's simple string of an Arrow type, as Spark would read it from Parquet."""
    import pyarrow.types as pt

    if pt.is_dictionary(type_):
        return _arrow_type(type_.value_type)
    if pt.is_decimal(type_):
        return f"decimal({type_.precision},{type_.scale})"
    if pt.is_timestamp(type_):
        return "timestamp" if type_.tz else "timestamp_ntz"
    if pt.is_struct(type_):
        return f"struct<{','.join(f'{field.name}:{_arrow_type(field.type)}' for field in type_)}>"
    if pt.is_list(type_) or pt.is_large_list(type_):
        return f"array<{_arrow_type(type_.value_type)}>"
    if pt.is_map(type_):
        return f"map<{_arrow_type(type_.key_type)},{_arrow_type(type_.item_type)}>"
    names = {
        "int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint", "halffloat": "float", "float": "float",
        "double": "double", "bool": "boolean", "string": "string", "large_string": "string", "binary": "binary",
        "large_binary": "binary", "date32[day]": "date", "uint8": "smallint", "uint16": "int", "uint32": "bigint",
    }  # fmt: skip
    return names.get(str(type_), str(type_))


def run_sql(tables: Mapping[str, TableRef], sql: str, memory_bytes: int) -> list[dict[str, Any]]:
    """Rows of one statement over the named tables. Raises EngineError."""
    try:
        return _query(tables, sql, memory_bytes)
    except MemoryError:
        raise EngineError(Reason.MEMORY, _MEMORY_TEXT) from None
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise translated(error, ", ".join(ref.path for ref in tables.values())) from None


def _query(tables: Mapping[str, TableRef], sql: str, memory_bytes: int) -> list[dict[str, Any]]:
    import pyarrow as pa

    if any(ref.deletion_vectors for ref in tables.values()):  # the FFI of delta-rs 1.6 refuses their plans
        from deltalake import QueryBuilder

        builder = QueryBuilder(session_config=_INT96)
        for name, ref in tables.items():
            builder = builder.register(name, _delta(ref.path, ref.version, ref.storage))
        rows: list[dict[str, Any]] = pa.table(builder.execute(sql).read_all()).to_pylist()
        return rows
    from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

    runtime = RuntimeEnvBuilder().with_disk_manager_os().with_fair_spill_pool(memory_bytes)
    context = SessionContext(SessionConfig(_INT96).with_target_partitions(2), runtime)
    for name, ref in tables.items():
        if ref.format == "delta":
            context.register_table(name, _delta(ref.path, ref.version, ref.storage))
        else:
            context.register_dataset(name, _parquet(ref.path))
    found: list[dict[str, Any]] = context.sql(sql).to_arrow_table().to_pylist()
    return found


_INT96 = {"datafusion.execution.parquet.coerce_int96": "us"}
"""Spark writes timestamps as INT96, of which nanoseconds hold the years 1677 to 2262 only."""
_MEMORY_TEXT = "the query needs more memory than engine.native_memory; raise it, or set `engine: spark` for the table"
_SIGNS: tuple[tuple[Reason, tuple[str, ...], str], ...] = (
    (Reason.UNSUPPORTED, ("reader feature", "table feature", "unsupported reader", "reader version"), "{path} uses a Delta feature that only Spark reads"),
    (Reason.PERMISSION, ("permission denied", "access denied", "forbidden", "accessdenied"), "may not be read; check the permissions of {path}"),
    (Reason.PERMISSION, ("credential", "secretaccesskey", "accesskeyid"), "there are no usable credentials for {path}; set them under `storage`, secrets by file or environment"),
    (Reason.MEMORY, ("resources exhausted", "failed to allocate", "cannot allocate", "out of memory"), _MEMORY_TEXT),
    (Reason.OVERFLOW, ("overflow", "out of range", "can't cast value", "too large to store in a decimal"), "a number is too large for its type"),
    (Reason.ARITHMETIC, ("divide by zero",), "a division by zero"),
    (Reason.COLUMN_NOT_FOUND, ("no field named",), "a column that is asked for is not in {path}"),
    (Reason.TYPE, ("was truncated", "unsupported cast", "incompatible types", "cannot be cast to"), "the files of {path} have columns of different types"),
    (Reason.CAST, ("cast error", "cannot cast string", "error parsing"), "a value cannot be cast"),
    (Reason.TABLE_NOT_FOUND, ("does not exist", "no such file", "not found", "not a delta table", "no files in log", "notadirectory"), "there is no table at {path}, or a file of it is gone; check the path, and restore what is missing"),
    (Reason.CORRUPT, ("parquet", "corrupt", "invalid json", "log segment", "eof", "invalid log", "metadata", "missing commit", "thrift"), "a file of {path} is corrupt or incomplete; restore the table to a version that can be read"),
    (Reason.CONNECTION, ("connect", "timed out", "dns", "generic s3 error", "http"), "the storage of {path} cannot be reached"),
)  # fmt: skip


def translated(error: BaseException, path: str) -> EngineError:
    """The engine's exception as one of our reasons; the first line of its own text is kept."""
    text = " ".join(str(error).split())
    if isinstance(error, PermissionError):
        return EngineError(Reason.PERMISSION, f"{path} may not be read; check its permissions")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return EngineError(Reason.TABLE_NOT_FOUND, f"there is no table at {path}; check the path")
    low = " ".join(word for word in text.lower().split() if "/" not in word and ".parquet" not in word)  # names are no signs
    for reason, signs, message in _SIGNS:
        if any(sign in low for sign in signs):
            quotes_data = reason in (Reason.OVERFLOW, Reason.ARITHMETIC, Reason.CAST, Reason.TYPE)
            return EngineError(reason, message.format(path=path) + ("" if quotes_data else f" ({redacted(text)})"))
    if type(error).__name__ in ("DeltaError", "DeltaProtocolError", "JSONDecodeError"):
        return EngineError(Reason.CORRUPT, f"the log of {path} cannot be read: a part is missing or damaged; restore it, or write the table anew")
    return EngineError(Reason.INTERNAL, f"{type(error).__name__}: {redacted(text)}")
