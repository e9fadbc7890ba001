"""Everything that lasts: the ledger of work, the audit log, the files.

`Store.open` is the door. SQLAlchemy, Alembic and procrastinate do not get past this package, nor do
their errors: what goes wrong here is a `hipnode.errors.HipnodeError`.
"""

from hipnode.storage.audit.archives import Archive
from hipnode.storage.audit.days import DayCount
from hipnode.storage.audit.epochs import AuditFault
from hipnode.storage.audit.heads import Head
from hipnode.storage.audit.heads import parse as parse_heads
from hipnode.storage.audit.log import AuditEntry, AuditFilter, AuditLog
from hipnode.storage.audit.report import VerifyReport
from hipnode.storage.audit.seal import AuditState
from hipnode.storage.desk.people import Account as DeskAccount
from hipnode.storage.desk.people import Session
from hipnode.storage.desk.proof import Proof, Proven
from hipnode.storage.desk.records import Asked, Found
from hipnode.storage.desk.studies import Made, StudyFilter, StudyLine
from hipnode.storage.dispatch.choose import dispatcher_for
from hipnode.storage.dispatch.hands import Dispatcher
from hipnode.storage.files.disk import FileStore
from hipnode.storage.files.incoming import IncomingFile
from hipnode.storage.ledger.arrivals import IngestOutcome, Received
from hipnode.storage.ledger.ledger import Ledger
from hipnode.storage.ledger.products import NewResult
from hipnode.storage.ledger.questions import Account, DestinationState, Overview, StudyFacts
from hipnode.storage.store import Store
from hipnode.storage.upkeep.archiving import verified as verified_archive
from hipnode.storage.upkeep.holds import Hold, HoldKind
from hipnode.storage.upkeep.reconcile import DAMAGED, Reconciled
from hipnode.storage.upkeep.retention import Retired
from hipnode.storage.upkeep.services import Beat, Services, ServiceState
from hipnode.storage.upkeep.troubles import Notice, Troubles
from hipnode.storage.upkeep.vitals import Vitals

__all__ = [
    "DAMAGED",
    "Account",
    "Archive",
    "Asked",
    "AuditEntry",
    "AuditFault",
    "AuditFilter",
    "AuditLog",
    "AuditState",
    "Beat",
    "DayCount",
    "DeskAccount",
    "DestinationState",
    "Dispatcher",
    "FileStore",
    "Found",
    "Head",
    "Hold",
    "HoldKind",
    "IncomingFile",
    "IngestOutcome",
    "Ledger",
    "Made",
    "NewResult",
    "Notice",
    "Overview",
    "Proof",
    "Proven",
    "Received",
    "Reconciled",
    "Retired",
    "ServiceState",
    "Services",
    "Session",
    "Store",
    "StudyFacts",
    "StudyFilter",
    "StudyLine",
    "Troubles",
    "VerifyReport",
    "Vitals",
    "dispatcher_for",
    "parse_heads",
    "verified_archive",
]
