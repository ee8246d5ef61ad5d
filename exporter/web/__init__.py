"""HTTP: the exposition, the life cycle, and pages for people."""

from exporter.web.app import ReloadOutcome, WebSettings, create_app
from exporter.web.server import Server, serve
from exporter.web.webconfig import WebConfig, WebConfigError

__all__ = ["ReloadOutcome", "Server", "WebConfig", "WebConfigError", "WebSettings", "create_app", "serve"]
