"""Text from elsewhere (exceptions of other people's code) without what looks like a secret; pure.

It rather masks too much than too little, takes time in proportion to the text, and leaves JSON readable as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MASK = "***"
_ALWAYS = re.compile(r"passw(?:or)?d|passphrase|passcode|pwd|secret|credential|private[_\-.]?key", re.IGNORECASE)
"""What a name contains whose value is a secret, whatever it looks like."""
_UNLESS_NUMBER = re.compile(
    r"token|api[_\-.]?key|access[_\-.]?key|account[_\-.]?key|encryption[_\-.]?key|shared[_\-.]?key|signature|(?:^|[_\-.])(?:pass|sas|sig)$", re.IGNORECASE
)
"""What a name contains whose value is a secret, but for a number: `max_tokens=4096`, `PASS=3`."""
_NO_SECRET = re.compile(r"(?:Error|Exception|Failure|Warning|Expired|NotFound)$")
_NAME = re.compile(r"(?<![\w.\-])[\w.\-]++")
_BETWEEN = re.compile(
    r"""(?P<is>(?P<quote>\\*["'])?(?:[ \t]|\\+t)*+(?:=>|:=|[:=]|%3[dD])(?:\s|\\+[nrt])*+)"""
    r"""|(?P<pair>\\*["'][ \t]*,[ \t]*(?=\\*["'])|\((?=\\*["']))"""  # ('password', 'x'), Password('x')
    r"""|(?P<said>[ \t]++(?:is[ \t]+|by[ \t]+)?(?=["']))"""  # PASSWORD 'x'
    r"""|(?P<flag>[ \t]++(?=[^\s\-]))"""  # --password x
    r"""|(?P<tag>>(?=[^<]))"""  # <password>x</password>
)
_BARE = re.compile(r"""(?:\\[^nrt"'\\]|[^\s,;&)\]}"'<>\\])++""")
_UNENDED = re.compile(r"""[^"'\n\\]+""")
_QUOTE = re.compile(r"""\\*["']""")
_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d+)?(?![\w.])")
_CONSTANT = re.compile(r"(?:null|true|false|None|True|False)\b")
_BLOCK = re.compile(r"""[|>][+\-]?[ \t]*(?:\n|\\+n)[ \t]+[^\n\\"']*""")
_LIST = re.compile(r"\[[^\[\]{}]{0,10000}\]")
_SCHEMES = re.compile(r"(?:bearer|basic|token|negotiate)\b", re.IGNORECASE)

_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"(?i)\b((?:proxy-)?authorization\\*['\"]?\s*[:=,]\s*\\*['\"]?digest\s+)[^\\\r\n]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b((?:proxy-)?authorization\\*['\"]?\s*[:=,]\s*\\*['\"]?(?:(?:bearer|basic|token|negotiate)\s+)?)[^\s'\",;\\]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/\-]{8,}=*"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b((?:set-)?cookie\\*['\"]?\s*:\s*\\*['\"]?)[^\\\"'\r\n]+"), rf"\1{MASK}"),
    (re.compile(r"(?<=://)([^\s/@:?#'\"<>\\]{0,256}):[^\s/'\"<>\\]{1,256}@"), rf"\1:{MASK}@"),
    (re.compile(r"(?<=://)([^\s/@:?#'\"<>\\]{0,256}):(?!\d{1,5}[/?#])[^\s@'\"<>\\]{1,256}@"), rf"\1:{MASK}@"),
    (re.compile(r"(?i)(\bhttps?://)[^\s/@:?#'\"<>\\*]{1,256}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)(:(?:thin|oci8?):[\w.$#]{1,128}/)[^\s@'\"\\]{1,256}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b(identified\s+by\s+)(['\"])[^'\"]*\2"), rf"\1\2{MASK}\2"),
    (re.compile(r"\beyJ[\w\-]{8,}+\.[\w\-]+(?:\.[\w\-]*){0,3}"), MASK),
    (re.compile(
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\b(?:dapi|dose|dkea)[0-9a-f]{32}(?:-\d)?\b|\bgh[pousr]_\w{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w\-]{20,}|\bxox[abeprs]-[\w\-]{10,}"
        r"|\bsk-[\w\-]{20,}|\bAIza[\w\-]{35}|\bhv[sbr]\.[\w\-]{20,}|\b(?:npm|pypi)[_\-]\w{30,}"
    ), MASK),
)  # fmt: skip


def redact(text: str) -> str:
    """The text with passwords, tokens and keys replaced by `***`: `password=…`, `Bearer …`, `://user:…@`, key blocks, and tokens of known forms."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return "".join(_without_named(text))


def redacted(value: Any) -> Any:
    """A JSON value with its texts masked, and whatever a name stands for that says that it is secret; numbers and constants of harmless names stay."""
    if isinstance(value, dict):
        return {redact(str(key)): MASK if _is_secret(str(key), item) else redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _is_secret(name: str, value: Any) -> bool:
    if _NO_SECRET.search(name) or value is None or isinstance(value, bool | dict):
        return False
    return bool(_ALWAYS.search(name) or (_UNLESS_NUMBER.search(name) and not isinstance(value, int | float)))


def _without_named(text: str) -> Iterator[str]:
    """The text in pieces, without the values of names that say that they are secret."""
    done = 0
    position = 0
    while found := _NAME.search(text, position):
        position = found.end()
        name = found[0]
        is_always = _ALWAYS.search(name) is not None
        if not (is_always or _UNLESS_NUMBER.search(name)) or _NO_SECRET.search(name):
            continue
        between = _BETWEEN.match(text, position)
        if not between or not _separates(between, text, found.start(), is_always):
            continue
        end, masked = _masked(text, between.end(), is_always, bool(between["quote"]), bool(between["tag"]))
        if end > between.end():
            yield text[done : between.end()] + masked
            done = position = end
    yield text[done:]


def _separates(between: re.Match[str], text: str, start: int, is_always: bool) -> bool:
    """True when what follows a name is its value."""
    if between["said"]:
        return is_always or text.startswith("--", start)
    if between["flag"]:
        return text.startswith("--", start)
    if between["tag"]:
        return start > 0 and text[start - 1] == "<"
    return True


def _masked(text: str, start: int, is_always: bool, is_json: bool, is_tag: bool) -> tuple[int, str]:
    """Where the value at a place ends, and what stands for it; ends where it starts when there is nothing to hide."""
    if is_tag:
        end = text.find("<", start)
        return (end if end >= 0 else len(text)), MASK
    opening = _QUOTE.match(text, start)
    if opening:
        closed = _closing(text, opening.end(), opening[0])
        if closed:
            return closed, f"{opening[0]}{MASK}{opening[0]}"
        rest = _UNENDED.match(text, opening.end())  # the text was cut off, or the quote belongs to what is around it
        return (rest.end() if rest else opening.end()), f"{opening[0]}{MASK}"
    if (is_json and _CONSTANT.match(text, start)) or (not is_always and _NUMBER.match(text, start)):
        return start, ""
    if scheme := _SCHEMES.match(text, start):
        value = _BARE.match(text, scheme.end() + 1)
        return (value.end(), f"{scheme[0]} {MASK}") if value else (start, "")
    if many := _LIST.match(text, start):
        return many.end(), f'["{MASK}"]' if is_json else MASK
    if text.startswith(("{", "["), start):
        return start, ""
    value = _BLOCK.match(text, start) or _BARE.match(text, start)
    if not value:
        return start, ""
    return value.end(), f'"{MASK}"' if is_json else MASK


def _closing(text: str, start: int, opening: str) -> int | None:
    """Where a quoted value ends, after its closing quote.

    That has as many backslashes before it as the opening one, where each stands for one; a pair of such (an escaped
    backslash) may come before them. A quote with any other number is part of the value.
    """
    quote, depth = opening[-1], len(opening) - 1
    while (found := text.find(quote, start)) >= 0:
        count = found - start - len(text[start:found].rstrip("\\"))
        if (count - depth) % (2 * (depth + 1)) == 0 and count >= depth:
            return found + 1
        start = found + 1
    return None
