"""The check types: one file each. Importing the package registers all of them."""

import pkgutil
from importlib import import_module

from exporter.checks.base import REGISTRY, ConfiguredCheck

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["REGISTRY", "ConfiguredCheck"]
