"""Ways in which an insider tries to change a sealed answer.

They have the database, the node's files, its published head and, the last of them, its key; not the
account of who keeps heads elsewhere. `hipnode torture` tries each on a log of its own, and
`tests/db/test_insider.py` on both engines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.storage import Head, Store
from hipnode.storage.audit import keys
from hipnode.storage.audit.entries import keyed_hash, plain_hash
from hipnode.storage.database.schema import from_us, to_us

ANSWER = 5
"""The row that says what was found."""


class Log(ABC):
    """A log of 15 rows in three seals, of which the heads are kept elsewhere, and its insider.

    Parameters
    ----------
    store
        Whose log it is; it is empty.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folder: Path = store.settings.node.data_dir
        self.is_sqlite = store.database.is_sqlite
        self.heads: list[Head] = []
        for batch in range(3):
            for number in range(4):
                self.write(AuditRecord(AuditEvent.ECHO_ANSWERED, actor=f"AE{number}"))
            found = {"model_set": "none"}
            self.write(AuditRecord(AuditEvent.IMAGE_READ, patient_id=f"P{batch}", detail=found))
            store.audit.seal()
            head = store.audit.head()
            if head is not None:
                self.heads.append(head)
        if len(self.heads) != 3 or store.audit.report(against=self.heads).faults:
            raise RuntimeError("a new log is not whole")
        store.audit.seal()

    @abstractmethod
    def sql(self, statement: str, **values: object) -> list[dict[str, Any]]:
        """Run a statement past the triggers, as the database's owner can; return its rows."""

    def write(self, record: AuditRecord) -> None:
        """Have the node itself write a row."""
        self.store.audit.append(record)

    def further_rows(self) -> None:
        """Something happens before the next seal, on the connection that wrote the row before."""
        for number in range(2):
            self.write(AuditRecord(AuditEvent.ECHO_ANSWERED, actor=f"AE{number}"))

    def row(self, number: int) -> dict[str, Any]:
        """Return a row's values."""
        (found,) = self.sql("SELECT * FROM audit WHERE id = :row", row=number)
        return {**found, "at_utc": from_us(found["at_utc"])}

    def put(self, values: dict[str, Any]) -> None:
        """Insert a row as it is given."""
        raw = {**values, "at_utc": to_us(values["at_utc"])}
        names, holders = ", ".join(raw), ", ".join(f":{name}" for name in raw)
        self.sql(f"INSERT INTO audit ({names}) VALUES ({holders})", **raw)  # noqa: S608

    def seal_again(self) -> None:
        """Seal everything anew, as who has the key can."""
        self.sql("DELETE FROM audit_seal")
        self.sql("UPDATE audit_tree SET epoch = 0")
        (self.folder / "audit-head").unlink()
        (self.folder / "audit-head.beside").unlink(missing_ok=True)
        self.store.audit.seal()


# --- with the database alone --------------------------------------------------------------------


def edit(log: Log) -> None:
    """A row is changed."""
    log.sql("UPDATE audit SET patient_id = 'X' WHERE id = :row", row=ANSWER)


def edit_and_hash_without_a_key(log: Log) -> None:
    """A row is changed, and hashed again as it was before rows had a key."""
    right = plain_hash({**log.row(ANSWER), "patient_id": "X"})
    log.sql("UPDATE audit SET patient_id = 'X', row_hash = :h WHERE id = :row", row=ANSWER, h=right)


def delete(log: Log) -> None:
    """A row is removed."""
    log.sql("DELETE FROM audit WHERE id = :row", row=ANSWER)


def swap(log: Log) -> None:
    """Two rows change places."""
    for old, new in ((ANSWER, -1), (10, ANSWER), (-1, 10)):
        log.sql("UPDATE audit SET id = :new WHERE id = :old", old=old, new=new)


def move_to_the_end(log: Log) -> None:
    """A row gets another number."""
    log.sql("UPDATE audit SET id = 900 WHERE id = :row", row=ANSWER)


def copy_a_genuine_row_to_the_end(log: Log) -> None:
    """A row that is genuine is there twice."""
    row = log.row(ANSWER)
    del row["id"]
    log.put(row)


def slip_a_row_into_a_gap(log: Log) -> None:
    """A genuine row takes the place of one that is removed."""
    log.sql("DELETE FROM audit WHERE id = :row", row=ANSWER)
    log.put({**log.row(10), "id": ANSWER})


def cut_off_the_end(log: Log) -> None:
    """The newest rows go, with their seals."""
    log.sql("DELETE FROM audit_seal WHERE id > 1")
    log.sql("DELETE FROM audit WHERE id > 5")


def delete_every_seal(log: Log) -> None:
    """All seals go, the rows stay."""
    log.sql("DELETE FROM audit_seal")


def delete_everything(log: Log) -> None:
    """All rows and seals go."""
    log.sql("DELETE FROM audit_seal")
    log.sql("DELETE FROM audit")


def roll_back_with_the_counters(log: Log) -> None:
    """Yesterday's database comes back, its counters too."""
    cut_off_the_end(log)
    if log.is_sqlite:
        log.sql("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'audit'")
        log.sql("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'audit_seal'")
    else:
        log.sql("SELECT setval(pg_get_serial_sequence('audit', 'id'), 5)")
        log.sql("SELECT setval(pg_get_serial_sequence('audit_seal', 'id'), 1)")


def forge_the_newest_row(log: Log) -> None:
    """A row is made up, with a hash."""
    row = {**log.row(ANSWER), "patient_id": "FORGED", "writer": f"{'0' * 16}:1"}
    del row["id"]
    log.put({**row, "row_hash": plain_hash(row)})


def edit_before_it_is_sealed(log: Log) -> None:
    """A row is changed within the second before it is sealed."""
    log.further_rows()
    newest = {**log.row(17), "actor": "nobody"}
    log.sql("UPDATE audit SET actor = 'nobody', row_hash = :h WHERE id = 17", h=plain_hash(newest))


def delete_before_it_is_sealed(log: Log) -> None:
    """A row is removed within that second."""
    log.further_rows()
    log.sql("DELETE FROM audit WHERE id = 17")
    log.further_rows()


def edit_row_leaf_and_root(log: Log) -> None:
    """A row is changed, with what its seal says of it."""
    edit_and_hash_without_a_key(log)
    (seal,) = log.sql("SELECT leaves FROM audit_seal WHERE id = 1")
    leaves = bytes(seal["leaves"])
    changed = leaves[: 24 * 4 + 8] + bytes.fromhex(log.row(ANSWER)["row_hash"])[:16]
    log.sql("UPDATE audit_seal SET leaves = :l, root = :r WHERE id = 1", l=changed, r="0" * 64)


def delete_a_seal_in_the_middle(log: Log) -> None:
    """A seal goes, and a row that it covered is changed."""
    log.sql("DELETE FROM audit_seal WHERE id = 2")
    log.sql("UPDATE audit SET patient_id = 'X' WHERE id = 10")


def begin_an_epoch_unsigned(log: Log) -> None:
    """All seals go, and a new epoch says that this is well."""
    delete_every_seal(log)
    log.sql(
        "INSERT INTO audit_epoch SELECT 2, 16, keyed_from, key_name, begun_utc, actor, 'all well',"
        " previous, given_up, faults, signature FROM audit_epoch"
    )


def call_the_rows_older_than_keys(log: Log) -> None:
    """Rows are said to be older than the key, and one is changed."""
    log.sql("UPDATE audit_epoch SET keyed_from = 999")
    edit_and_hash_without_a_key(log)


def call_a_row_archived(log: Log) -> None:
    """A row is said to be archived, and removed."""
    columns = "1, at_utc, at_utc, 'ada', 'old', 1, row_hash, 5, 1, '', '{}', 'a.sqlite', 0, '', ''"
    log.sql(f"INSERT INTO audit_archive SELECT {columns} FROM audit WHERE id = 5")  # noqa: S608
    log.sql("INSERT INTO audit_archived VALUES (1, 5, 5)")
    delete(log)


def say_that_an_archive_has_more(log: Log) -> None:
    """An archive is said to have a row that it does not have, and this is removed."""
    archive(log)
    log.further_rows()
    log.store.audit.seal()
    (newest,) = log.sql("SELECT max(id) AS id FROM audit")
    log.sql("UPDATE audit_archived SET last_id = :row", row=newest["id"] - 1)
    log.sql("DELETE FROM audit WHERE id = :row", row=newest["id"] - 1)


def forget_an_archive(log: Log) -> None:
    """What says that rows were archived goes."""
    archive(log)
    log.sql("DELETE FROM audit_archived")
    log.sql("DELETE FROM audit_archive")


def archive(log: Log) -> Path:
    """Have the node archive what is sealed, as its administrator can; return the file."""
    made = log.store.archive(log.store.now(), actor="insider", reason="it is old")
    return log.store.settings.audit_archive_dir / made.file


# --- with the files and the published head too --------------------------------------------------


def cut_off_with_the_head(log: Log) -> None:
    """The newest rows go, and the published head."""
    cut_off_the_end(log)
    (log.folder / "audit-head").unlink()


def roll_back_with_an_earlier_head(log: Log) -> None:
    """Yesterday's database comes back, with yesterday's head."""
    roll_back_with_the_counters(log)
    (log.folder / "audit-head").write_text(log.heads[0].note())


def empty_all_with_the_head(log: Log) -> None:
    """Everything goes, the head too."""
    delete_everything(log)
    (log.folder / "audit-head").unlink()


# --- with the node's key too --------------------------------------------------------------------


def rewrite_with_the_key(log: Log) -> None:
    """A row is changed and all sealed anew with the node's key."""
    key = keys.make(log.folder / "audit.key")
    right = keyed_hash({**log.row(ANSWER), "patient_id": "X"}, key.rows)
    log.sql("UPDATE audit SET patient_id = 'X', row_hash = :h WHERE id = :row", row=ANSWER, h=right)
    log.seal_again()


def remove_and_rewrite_with_the_key(log: Log) -> None:
    """A row is removed and all sealed anew with the node's key."""
    delete(log)
    log.seal_again()


def archive_and_throw_it_away(log: Log) -> None:
    """The rows are archived, and the archive goes."""
    archive(log).unlink()


def acknowledge_it_themselves(log: Log) -> None:
    """The newest rows go, and the insider acknowledges it."""
    cut_off_the_end(log)
    log.store.audit.acknowledge(actor="insider", reason="a restored backup")


def begin_anew_with_another_key(log: Log) -> None:
    """Everything goes, and the log begins anew with another key."""
    delete_everything(log)
    for name in ("audit-head", "audit.key"):
        (log.folder / name).unlink()
    log.store.take_key()
    log.sql("DELETE FROM audit_epoch")
    log.store.audit.begin_epoch(
        AuditEvent.AUDIT_ACKNOWLEDGED, actor="insider", reason="begin", faults=()
    )


Way = Callable[[Log], None]
WITH_THE_DATABASE: Sequence[Way] = (
    edit,
    edit_and_hash_without_a_key,
    delete,
    swap,
    move_to_the_end,
    copy_a_genuine_row_to_the_end,
    slip_a_row_into_a_gap,
    cut_off_the_end,
    delete_every_seal,
    delete_everything,
    roll_back_with_the_counters,
    forge_the_newest_row,
    edit_before_it_is_sealed,
    delete_before_it_is_sealed,
    edit_row_leaf_and_root,
    delete_a_seal_in_the_middle,
    begin_an_epoch_unsigned,
    call_the_rows_older_than_keys,
    call_a_row_archived,
    say_that_an_archive_has_more,
    forget_an_archive,
)
WITH_FILES_TOO: Sequence[Way] = (
    cut_off_with_the_head,
    roll_back_with_an_earlier_head,
    empty_all_with_the_head,
    rewrite_with_the_key,
    remove_and_rewrite_with_the_key,
    archive_and_throw_it_away,
    acknowledge_it_themselves,
    begin_anew_with_another_key,
)
CUTS = (
    cut_off_the_end,
    delete_every_seal,
    delete_everything,
    roll_back_with_the_counters,
    begin_an_epoch_unsigned,
)
