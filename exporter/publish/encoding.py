"""How a page goes over the wire: content negotiation, and one gzip member of a cached and a live part; pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_LEVEL = 1
_RAW = -zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Segment:
    """A deflated part that others can follow: it ends on a byte, and nothing after it refers back into it."""

    data: bytes
    crc: int
    length: int


def segment(content: bytes) -> Segment:
    """Deflates the part of a page that stays the same from scrape to scrape."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    data = deflate.compress(content) + deflate.flush(zlib.Z_FULL_FLUSH)
    return Segment(data, zlib.crc32(content), len(content))


def gzip_member(first: Segment, tail: bytes) -> bytes:
    """One gzip member (RFC 1952) of a cached segment and `tail`; only `tail` is deflated."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    end = deflate.compress(tail) + deflate.flush(zlib.Z_FINISH)
    crc = zlib.crc32(tail, first.crc)
    size = (first.length + len(tail)) & 0xFFFFFFFF
    return b"".join((_HEADER, first.data, end, crc.to_bytes(4, "little"), size.to_bytes(4, "little")))


def wants_openmetrics(accept: str) -> bool:
    """True when an `Accept` header prefers OpenMetrics to the text format; wildcards mean text."""
    openmetrics = text = 0.0
    for media, quality in _weights(accept):
        if media == "application/openmetrics-text":
            openmetrics = max(openmetrics, quality)
        elif media == "text/plain":
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def accepts_gzip(accept_encoding: str) -> bool:
    """True when an `Accept-Encoding` header allows gzip."""
    qualities = dict(_weights(accept_encoding))
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def _weights(header: str) -> list[tuple[str, float]]:
    found = []
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        found.append((name, quality))
    return found
