"""The `web.config.file` of the Prometheus exporter-toolkit: TLS, basic authentication and headers.

Re-read when it or a file that it names changes. A change that cannot be used is logged and what was in use stays.
Unlike the toolkit's, keys that only Go's TLS has (cipher suites, curves) are refused, not ignored.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import bcrypt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

_LOG = logging.getLogger(__name__)
_CACHED_LOGINS = 100
_TLS_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_HEADERS = {
    "Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection",
    "Strict-Transport-Security", "Cache-Control",
}  # fmt: skip
_NOBODY = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(10))
"""Compared with for a name that does not exist, so that it takes as long as one that does."""


class WebConfigError(Exception):
    """The web.config.file cannot be used: what is wrong, where, and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsModel(_Part):
    """`tls_server_config`; paths are relative to the folder of the file."""

    cert_file: Path
    key_file: Path
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_ca_file: Path | None = None
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS12"

    @model_validator(mode="after")
    def _clients_have_an_authority(self) -> TlsModel:
        if self.client_auth_type != "NoClientCert" and self.client_ca_file is None:
            raise ValueError(f"client_auth_type {self.client_auth_type} needs client_ca_file")
        if self.client_auth_type == "NoClientCert" and self.client_ca_file is not None:
            raise ValueError("client_ca_file needs client_auth_type, such as RequireAndVerifyClientCert")
        return self


class HttpModel(_Part):
    """`http_server_config`; `http2` is read and has no effect: the server speaks HTTP/1.1."""

    http2: bool = False
    headers: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("headers")
    @classmethod
    def _known(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in headers.items():
            if name not in _HEADERS:
                raise ValueError(f"header {name} cannot be set; these can: {', '.join(sorted(_HEADERS))}")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"header {name} has characters that a header cannot have")
        return headers


class WebModel(_Part):
    """The whole file."""

    tls_server_config: TlsModel | None = None
    http_server_config: HttpModel = HttpModel()
    basic_auth_users: Mapping[str, str] = Field(default_factory=dict, repr=False)

    @field_validator("basic_auth_users")
    @classmethod
    def _hashed(cls, users: Mapping[str, str]) -> Mapping[str, str]:
        for name, hashed in users.items():
            try:
                bcrypt.checkpw(b"", hashed.encode())
            except ValueError:
                raise ValueError(
                    f"the password of {name} is not a bcrypt hash; make one with: htpasswd -nBC 10 NAME"
                ) from None
        return users


class WebConfig:
    """The file in use. `refresh` looks whether it changed; the rest never touches the disk."""

    def __init__(self, path: Path) -> None:
        """Reads the file. Raises WebConfigError."""
        self._path = path
        self._lock = threading.Lock()
        self._logins: dict[bytes, None] = {}
        self._salt = secrets.token_bytes(16)
        self._context: ssl.SSLContext | None = None
        self._model = self._read()
        if self._model.tls_server_config:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._load_tls(self._context, self._model.tls_server_config)
        self._stamp = self._stamps(self._model)

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context of new connections, or None for plain HTTP; it stays the same object when certificates change."""
        return self._context

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers to send with every answer."""
        return self._model.http_server_config.headers

    @property
    def needs_login(self) -> bool:
        """True when users are configured."""
        return bool(self._model.basic_auth_users)

    def refresh(self) -> bool:
        """Takes over changed files; True when there was something new that can be used."""
        with self._lock:
            stamp = self._stamps(self._model)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            try:
                model = self._read()
                if (model.tls_server_config is None) != (self._context is None):
                    raise WebConfigError(
                        f"{self._path}: TLS cannot be turned on or off while running; restart for that"
                    )
                if model.tls_server_config and self._context:
                    self._load_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), model.tls_server_config)  # a trial
                    self._load_tls(self._context, model.tls_server_config)
            except WebConfigError as error:
                _LOG.error("the web configuration stays as it was: %s", error)
                return False
            self._model, self._logins, self._stamp = model, {}, self._stamps(model)
            return True

    def login(self, name: str, password: str) -> bool:
        """True when the password is that of the user; slow on purpose unless it was right before."""
        hashed = self._model.basic_auth_users.get(name)
        given = password.encode()
        text = b"\0".join((self._salt, name.encode(), (hashed or "").encode(), given))
        key = hashlib.sha256(text).digest()
        if hashed is not None and any(hmac.compare_digest(key, known) for known in tuple(self._logins)):
            return True
        try:
            right = bcrypt.checkpw(given, hashed.encode() if hashed is not None else _NOBODY) and hashed is not None
        except ValueError:  # longer than the 72 bytes that bcrypt hashes
            return False
        if right:
            with self._lock:
                if len(self._logins) >= _CACHED_LOGINS:
                    self._logins = {}
                self._logins = {**self._logins, key: None}
        return right

    def _read(self) -> WebModel:
        try:
            raw: Any = yaml.safe_load(self._path.read_text(encoding="utf-8"))
            return WebModel.model_validate({} if raw is None else raw)
        except OSError as error:
            raise WebConfigError(f"{self._path}: cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise WebConfigError(f"{self._path}: is not YAML: {error}") from None
        except ValidationError as error:
            raise WebConfigError("; ".join(f"{self._path}: {_problem(part)}" for part in error.errors())) from None

    def _load_tls(self, context: ssl.SSLContext, tls: TlsModel) -> None:
        folder = self._path.parent
        try:
            context.minimum_version = _TLS_VERSIONS[tls.min_version]
            context.load_cert_chain(folder / tls.cert_file, folder / tls.key_file)
            if tls.client_ca_file:
                context.load_verify_locations(folder / tls.client_ca_file)
            context.verify_mode = _CLIENT_AUTH[tls.client_auth_type]
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(file) for file in (tls.cert_file, tls.key_file, tls.client_ca_file) if file)
            raise WebConfigError(
                f"{self._path}: tls_server_config: {error.strerror or error}; check that {files} are readable PEM files "
                "and that the key belongs to the certificate"
            ) from None

    def _stamps(self, model: WebModel) -> tuple[object, ...]:
        tls = model.tls_server_config
        named = (tls.cert_file, tls.key_file, tls.client_ca_file) if tls else ()
        return tuple(_stamp(self._path.parent / file) for file in (self._path.name, *named) if file)


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _problem(part: Any) -> str:
    where = ".".join(str(step) for step in part["loc"])
    if part["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    message = str(part["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
