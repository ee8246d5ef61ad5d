r"""Java regular expressions for DataFusion's (Rust's) engine, where both mean the same.

Java's `\d \w \s` are ASCII and its dot leaves out more line ends, so those are spelt out. What the other engine
lacks (lookaround, backreferences, possessive quantifiers) or reads otherwise (`$`, class operators) is refused.
"""

from __future__ import annotations

from exporter.engine.snapshot import Unsupported

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": r" \t\n\x0B\f\r"}
_SAME_ESCAPES = frozenset(r".\+*?()|[]{}^$-/@#&~=!<>:;,%'\"` _")
_CONTROL = frozenset("tnrf")
_DOT = r"[^\n\r\x{85}\x{2028}\x{2029}]"


def to_rust(pattern: str) -> str:
    """The same expression for Rust's `regex`, without the anchors at its ends. Raises Unsupported."""
    if not _has_branches(pattern):  # the whole value must match, so anchors at the ends change nothing
        pattern = pattern.removeprefix("^")
        if pattern.endswith("$") and (len(pattern) - len(pattern[:-1].rstrip("\\")) - 1) % 2 == 0:
            pattern = pattern[:-1]
    out, i = [], 0
    while i < len(pattern):
        char = pattern[i]
        if char == "\\":
            out.append(_escape(pattern, i, in_class=False))
            i += 2
        elif char == "[":
            text, i = _class(pattern, i)
            out.append(text)
        elif char == "(":
            if pattern.startswith("(?", i) and not pattern.startswith("(?:", i):
                raise Unsupported(f"regex {pattern[i : i + 4]!r} (lookaround, flags or named group)")
            out.append(char)
            i += 1
        elif char in "*+?}" and pattern[i + 1 : i + 2] == "+":
            raise Unsupported("regex with a possessive quantifier")
        elif char in "^$":
            raise Unsupported(f"regex with {char} inside")
        else:
            out.append(_DOT if char == "." else char)
            i += 1
    return "".join(out)


def _has_branches(pattern: str) -> bool:
    """True when there is a `|` outside of groups; brackets in classes only make the answer more careful."""
    depth = 0
    for i, char in enumerate(pattern):
        if char in "()" and pattern[i - 1 : i] != "\\":
            depth += 1 if char == "(" else -1
        elif char == "|" and depth <= 0:
            return True
    return False


def _escape(pattern: str, i: int, in_class: bool) -> str:
    char = pattern[i + 1 : i + 2]
    if char in _CLASSES:
        return _CLASSES[char] if in_class else f"[{_CLASSES[char]}]"
    if char.lower() in _CLASSES and char and not in_class:
        return f"[^{_CLASSES[char.lower()]}]"
    if char in _CONTROL:
        return "\\" + char
    if char and char in _SAME_ESCAPES:
        return char if char in "'\"`@_ /%,:;=!" else "\\" + char
    raise Unsupported(f"regex escape \\{char}")


def _class(pattern: str, start: int) -> tuple[str, int]:
    """The character class that opens at `start`, and where it ends."""
    out, i = ["["], start + 1
    if pattern[i : i + 1] == "^":
        out.append("^")
        i += 1
    first = i
    while i < len(pattern) and pattern[i] != "]":
        char = pattern[i]
        if char == "\\":
            out.append(_escape(pattern, i, in_class=True))
            i += 2
            continue
        if char == "[" or pattern[i : i + 2] in ("&&", "--", "~~"):
            raise Unsupported("regex with a class inside a class")
        out.append("\\" + char if char in "&~^" else char)
        i += 1
    if i >= len(pattern) or i == first:
        raise Unsupported("regex with an unusual class")
    return "".join(out) + "]", i + 1
