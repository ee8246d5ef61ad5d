"""Log set-up: JSON lines or a console view on stderr, with secrets masked in everything that is written."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

MASK = "***"
_USER_INFO = re.compile(r"(?<=://)([^\s/@:?#'\"]*):([^\s/@'\"]+)@")
_SHORTEST = 4


class Redaction:
    """A processor that replaces known secret values, and passwords in URLs, wherever they stand in an event.

    Values shorter than four characters are left alone: masking them would garble every line.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._pattern: re.Pattern[str] | None = None
        self._secrets: set[str] = set()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Further values, for example those of a reloaded configuration; earlier ones stay masked."""
        for secret in secrets:
            # JSON escapes quotes, backslashes and newlines, repr does too: both spellings of a value are the value
            for text in (secret, secret.strip(), repr(secret)[1:-1], secret.encode("unicode_escape").decode()):
                if len(text) >= _SHORTEST:
                    self._secrets.add(text)
        longest_first = sorted(self._secrets, key=lambda text: (-len(text), text))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """`text` without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return _USER_INFO.sub(rf"\1:{MASK}@", text) if "://" in text else text

    def value(self, value: Any) -> Any:
        """A value of an event without secrets; what is not plain data becomes its redacted text."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if self.text(str(value)) == str(value) else MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(str(value) if isinstance(value, BaseException) else repr(value))

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {key if key.startswith("_") else self.text(key): item if key.startswith("_") else self.value(item) for key, item in event.items()}


def set_up(
    level: str = "info",
    format: Literal["auto", "json", "console"] = "auto",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> Redaction:
    """Routes structlog and the standard library's logging to `stream` (stderr); replaces an earlier set-up.

    Exceptions are rendered before redaction, so that their text is masked too. Returns the redaction, to which
    later secrets are added.
    """
    target = stream if stream is not None else sys.stderr
    console = format == "console" or (format == "auto" and target.isatty())
    redaction = Redaction(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        redaction,
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer(colors=target.isatty()) if console else structlog.processors.JSONRenderer()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _text, renderer],
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # uvicorn brings handlers of its own
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # Each evaluation has its own line, and what goes wrong in these is told by us, with what to do.
    for name, least in (("alembic", logging.WARNING), ("uvicorn", logging.WARNING), ("apscheduler", logging.ERROR), ("py4j", logging.CRITICAL)):
        logging.getLogger(name).setLevel(max(least, root.level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a reload may set up anew
    )
    return redaction


def _text(logger: Any, method: str, event: EventDict) -> EventDict:
    """Drops what an exception already rendered leaves behind."""
    event.pop("exc_info", None)
    return event
