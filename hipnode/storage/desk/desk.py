"""The door for the desk: what it may ask of the storage, and the little that it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from hipnode.errors import StorageUnavailable
from hipnode.storage.audit import heads
from hipnode.storage.audit.keys import Keys
from hipnode.storage.database.engine import Database
from hipnode.storage.desk.choices import Choices
from hipnode.storage.desk.opinions import Opinions
from hipnode.storage.desk.people import People
from hipnode.storage.desk.proof import Proven, Prover
from hipnode.storage.desk.records import Records
from hipnode.storage.desk.studies import Studies
from hipnode.storage.ledger.covariates import Covariates


class Desk:
    """What the desk asks.

    Attributes
    ----------
    people
        Accounts and sessions.
    choices
        Which model set reports.
    opinions
        What people say of what the node said.
    covariates
        What is known about patients and came from outside.
    records
        The audit log.
    studies
        The studies.
    """

    def __init__(
        self,
        database: Database,
        keys: Callable[[], Keys | None],
        now: Callable[[], datetime],
    ) -> None:
        self.people = People(database, now)
        self.choices = Choices(database, now)
        self.opinions = Opinions(database)
        self.covariates = Covariates(database)
        self.records = Records(database)
        self.studies = Studies(database)
        self._prover = Prover(database)
        self._keys = keys

    def prove(self, row_ids: Iterable[int]) -> Proven | None:
        """Return proofs that records are in the log; see `hipnode.storage.desk.proof`.

        Raises
        ------
        StorageUnavailable
            If the log's key is not here.
        """
        return self._prover.prove(row_ids, self._key())

    def statement(self, text: str) -> str:
        """Return a text as a note that is signed with the log's key.

        Raises
        ------
        StorageUnavailable
            If the log's key is not here.
        """
        return heads.statement(self._key(), text)

    def verifier(self) -> str:
        """Return the public key of statements, as other tools take it.

        Raises
        ------
        StorageUnavailable
            If the log's key is not here.
        """
        return heads.statement_verifier(self._key())

    def _key(self) -> Keys:
        keys = self._keys()
        if keys is None:
            raise StorageUnavailable("Nothing can be signed: the audit log's key is not here.")
        return keys
