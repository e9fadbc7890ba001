"""Everything that lasts: the ledger of work, the audit log, the files.

`Store.open` is the door. SQLAlchemy, Alembic and procrastinate do not get past this package, nor do
their errors: what goes wrong here is a `hipnode.errors.HipnodeError`.
"""

from hipnode.storage.audit import AuditEntry, AuditFilter, AuditLog
from hipnode.storage.audit_days import DayCount
from hipnode.storage.dispatch import Dispatcher, dispatcher_for
from hipnode.storage.files import FileStore, IncomingFile
from hipnode.storage.intake import IngestOutcome, Received
from hipnode.storage.ledger import Ledger, NewResult
from hipnode.storage.lookups import Account, DestinationState, Overview, StudyFacts
from hipnode.storage.reconcile import Reconciled
from hipnode.storage.retention import Retired
from hipnode.storage.seal import AuditFault
from hipnode.storage.store import Store

__all__ = [
    "Account",
    "AuditEntry",
    "AuditFault",
    "AuditFilter",
    "AuditLog",
    "DayCount",
    "DestinationState",
    "Dispatcher",
    "FileStore",
    "IncomingFile",
    "IngestOutcome",
    "Ledger",
    "NewResult",
    "Overview",
    "Received",
    "Reconciled",
    "Retired",
    "Store",
    "StudyFacts",
    "dispatcher_for",
]
