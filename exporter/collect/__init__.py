"""Everything about pipelines that happens while the exporter runs: asking, receiving, keeping, and telling others."""

from exporter.collect.collectors import Collectors, last_success

__all__ = ["Collectors", "last_success"]
