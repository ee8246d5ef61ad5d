"""dq-exporter tells Prometheus whether data can be trusted right now."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dq-exporter")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
