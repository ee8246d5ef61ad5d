"""The runs that fill tables: one model and state machine, one file per source, health and lineage. Importing the package registers all sources."""

import pkgutil
from importlib import import_module

from exporter.pipelines.base import SOURCES, SourceModel

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["SOURCES", "SourceModel"]
