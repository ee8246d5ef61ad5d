"""Text from elsewhere (exceptions of other people's code) without what looks like a secret; pure."""

from __future__ import annotations

import re

MASK = "***"
_NAME = r"[\w.\-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key|account[_\-]?key|private[_\-]?key|credentials?|sas|signature|sig)[\w.\-]*(?<!Error)(?<!Exception)"
_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic|token)?\s*)[^\s'\",;]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/\-]{8,}=*"), rf"\1{MASK}"),
    (re.compile(r"(?<=://)([^\s/@:?#'\"]*):([^\s/@'\"]+)@"), rf"\1:{MASK}@"),
    (re.compile(rf"(?i)((?<![\w.\-]){_NAME}['\"]?\s*(?:=>|:=|[:=])\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&)\]}}]+)"), rf"\1{MASK}"),
    (re.compile(r"\beyJ[\w\-]{8,}\.[\w\-]+\.[\w\-]*"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bdapi[0-9a-f]{32}(?:-\d)?\b|\bgh[pousr]_\w{30,}\b|\bxox[abpr]-[\w\-]{10,}|\bsk-[\w\-]{20,}"), MASK),
)


def redact(text: str) -> str:
    """The text with passwords, tokens and keys replaced by `***`: `password=…`, `Bearer …`, `://user:…@`, key blocks, and tokens of known forms."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
