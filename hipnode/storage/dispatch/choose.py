"""Which dispatcher fits a store's database."""

from __future__ import annotations

from importlib import import_module

from hipnode.storage.dispatch.hands import Dispatcher
from hipnode.storage.dispatch.sqlite import SQLiteDispatcher
from hipnode.storage.store import Store


def dispatcher_for(store: Store) -> Dispatcher:
    """Return the dispatcher that fits the store's database."""
    if store.database.is_sqlite:
        return SQLiteDispatcher(store)
    module = import_module("hipnode.storage.dispatch.postgresql")
    dispatcher: Dispatcher = module.PostgreSQLDispatcher(store)
    return dispatcher
