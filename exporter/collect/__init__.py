"""Everything about pipelines that happens while the exporter runs: asking, receiving, keeping, and telling others."""

from exporter.collect.collectors import Collectors, last_success
from exporter.collect.keeper import Mirror

__all__ = ["Collectors", "Mirror", "last_success"]
