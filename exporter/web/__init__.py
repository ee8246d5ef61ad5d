"""HTTP: the exposition, the life cycle, and pages for people."""

from exporter.web.app import ReloadOutcome, WebSettings, create_app
from exporter.web.server import AddressError, Server, serve
from exporter.web.webconfig import WebConfig, WebConfigError

__all__ = ["AddressError", "ReloadOutcome", "Server", "WebConfig", "WebConfigError", "WebSettings", "create_app", "serve"]
