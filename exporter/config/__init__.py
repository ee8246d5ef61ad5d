"""The configuration: YAML files into validated, frozen settings; every problem is reported at once."""

from exporter.config.json_schema import json_schema
from exporter.config.loader import load, load_section
from exporter.config.pipelines import Watching
from exporter.config.problems import ConfigError, Problem
from exporter.config.settings import (
    Config,
    EngineSettings,
    LogSettings,
    NotifySettings,
    SchedulerSettings,
    SparkSettings,
    StoreSettings,
    WebSettings,
)  # fmt: skip

__all__ = [
    "Config", "ConfigError", "EngineSettings", "LogSettings", "NotifySettings", "Problem", "SchedulerSettings", "SparkSettings",
    "StoreSettings", "Watching", "WebSettings", "json_schema", "load", "load_section",
]  # fmt: skip
