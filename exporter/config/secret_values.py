"""Which values are secret, where they come from, and how they are kept out of sight."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

MASK = "***"
_SECRET_KEY = re.compile(
    r"secret|passwo?r?d|passphrase|token|credential|(?:^|[._-])sas(?:[._-]|$)"
    r"|(?:account|access|private|api|master|storage|service[._-]?account)[._-]?key(?![._-]?id)",
    re.IGNORECASE,
)
_HARMLESS_KEY = re.compile(r"(?:provider|uri|url|path|endpoint|enabled|type|class|file|env)(?:\.impl)?$", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)([^\s/@:?#'\"]*):([^\s/@'\"]+)@")
_PARAMETER = re.compile(r"([?&;](?:password|passwd|pwd|token|secret|sig|secret_?key|access_?key)=)([^&;\s'\"]+)", re.IGNORECASE)
_ORACLE = re.compile(r"^(jdbc:oracle:[^:]*:[^/@\s]+)/[^@\s]+@")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def looks_secret(key: str) -> bool:
    """True for a key whose plain value would be a secret; `…_file`, `…_env` and `….provider` are not."""
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def url_has_secret(text: str) -> bool:
    """True for `scheme://user:password@host` and for a password or token among the parameters of a URL."""
    if _ORACLE.match(text):
        return True
    return "://" in text and bool(_USER_INFO.search(text) or _PARAMETER.search(text))


def mask_urls(text: str) -> str:
    """The text with passwords and tokens in URLs replaced by `***`."""
    text = _ORACLE.sub(rf"\1/{MASK}@", text)
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\1{MASK}", _USER_INFO.sub(rf"\1:{MASK}@", text))


def mask_values(text: str, secrets: Iterable[str]) -> str:
    """The text with each of the values of at least four characters replaced by `***`, longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 4 and secret in text:
            text = text.replace(secret, MASK)
    return text


def read_secret_file(path: Path) -> str:
    """The content of a secret file without its trailing newline. Raises ValueError."""
    try:
        if path.is_dir():
            raise ValueError(f"secret file {path} is a directory")
        value = path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"secret file {path} cannot be read: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise ValueError(f"secret file {path} is not UTF-8 text") from None
    if not value:
        raise ValueError(f"secret file {path} is empty")
    return value


def check_environment_name(name: str) -> None:
    """Raises ValueError (without the value: it may be a secret put in the wrong place)."""
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise ValueError("is not the name of an environment variable")
