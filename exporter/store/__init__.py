"""Durable state: last results, history and counters in one SQL database."""

from exporter.store.inbox import Received
from exporter.store.learned import Remark
from exporter.store.ledger import Ledger
from exporter.store.sources import StoredLetter
from exporter.store.state import CheckState, CounterKey, StoredTable
from exporter.store.store import Store, StoreError

__all__ = ["Ledger", "Received", "CheckState", "CounterKey", "Remark", "Store", "StoreError", "StoredLetter", "StoredTable"]
