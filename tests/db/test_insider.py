"""Ways in which an insider tries to change a sealed answer, each of them tried.

They have the database, the node's files, its published head and, the last of them, its key; not the
account of who keeps heads elsewhere. Each way is tried on a log of its own, a housekeeper seals
afterwards as it would, and the log is verified against the heads that were kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.storage import Head, Store
from hipnode.storage.audit.entries import keyed_hash, plain_hash
from hipnode.storage.audit.epochs import AuditFault
from hipnode.storage.database.schema import audit
from hipnode.storage.database.schema import seal as audit_seal
from tests.db.conftest import Bench
from tests.db.test_audit import tamper, write

ANSWER = 5
"""The row that says what was found."""


@dataclass
class Log:
    """A log of 15 rows in three seals, of which the heads are kept elsewhere."""

    bench: Bench
    heads: list[Head]

    @property
    def folder(self) -> Path:
        return self.bench.settings.node.data_dir

    @property
    def store(self) -> Store:
        return self.bench.store

    def sql(self, statement: str, **values: object) -> None:
        tamper(self.bench, statement, **values)

    def row(self, number: int) -> dict[str, Any]:
        statement = sa.select(audit).where(audit.c.id == number)
        found = self.store.database.read(lambda c: c.execute(statement).one())
        return dict(found._asdict())

    def put(self, values: dict[str, Any]) -> None:
        tamper(self.bench, "SELECT 1")
        self.store.database.write(lambda c: c.execute(sa.insert(audit).values(values)))

    def seal_again(self) -> None:
        """Seal everything anew, as who has the key can."""
        self.sql("DELETE FROM audit_seal")
        self.sql("UPDATE audit_tree SET epoch = 0")
        (self.folder / "audit-head").unlink()
        (self.folder / "audit-head.beside").unlink(missing_ok=True)
        self.store.audit.seal()


def further_rows(log: Log) -> None:
    """Something happens before the next seal, on the connection that wrote the row before."""
    write(log.bench, 2)


@pytest.fixture
def log(bench: Bench) -> Log:
    heads = []
    for batch in range(3):
        write(bench, 4)
        bench.store.audit.append(
            AuditRecord(AuditEvent.IMAGE_READ, patient_id=f"P{batch}", detail={"decision": "none"})
        )
        bench.store.audit.seal()
        head = bench.store.audit.head()
        assert head is not None
        heads.append(head)
    assert bench.store.audit.report(against=heads).faults == ()
    bench.store.audit.seal()
    return Log(bench, heads)


# --- with the database alone --------------------------------------------------------------------


def edit(log: Log) -> None:
    log.sql("UPDATE audit SET patient_id = 'X' WHERE id = :row", row=ANSWER)


def edit_and_hash_without_a_key(log: Log) -> None:
    right = plain_hash({**log.row(ANSWER), "patient_id": "X"})
    log.sql("UPDATE audit SET patient_id = 'X', row_hash = :h WHERE id = :row", row=ANSWER, h=right)


def delete(log: Log) -> None:
    log.sql("DELETE FROM audit WHERE id = :row", row=ANSWER)


def swap(log: Log) -> None:
    for old, new in ((ANSWER, -1), (10, ANSWER), (-1, 10)):
        log.sql("UPDATE audit SET id = :new WHERE id = :old", old=old, new=new)


def move_to_the_end(log: Log) -> None:
    log.sql("UPDATE audit SET id = 900 WHERE id = :row", row=ANSWER)


def copy_a_genuine_row_to_the_end(log: Log) -> None:
    row = log.row(ANSWER)
    del row["id"]
    log.put(row)


def slip_a_row_into_a_gap(log: Log) -> None:
    log.sql("DELETE FROM audit WHERE id = :row", row=ANSWER)
    log.put({**log.row(10), "id": ANSWER})


def cut_off_the_end(log: Log) -> None:
    log.sql("DELETE FROM audit_seal WHERE id > 1")
    log.sql("DELETE FROM audit WHERE id > 5")


def delete_every_seal(log: Log) -> None:
    log.sql("DELETE FROM audit_seal")


def delete_everything(log: Log) -> None:
    log.sql("DELETE FROM audit_seal")
    log.sql("DELETE FROM audit")


def roll_back_with_the_counters(log: Log) -> None:
    cut_off_the_end(log)
    if log.store.database.is_sqlite:
        log.sql("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'audit'")
        log.sql("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'audit_seal'")
    else:
        log.sql("SELECT setval(pg_get_serial_sequence('audit', 'id'), 5)")
        log.sql("SELECT setval(pg_get_serial_sequence('audit_seal', 'id'), 1)")


def forge_the_newest_row(log: Log) -> None:
    row = {**log.row(ANSWER), "patient_id": "FORGED", "writer": f"{'0' * 16}:1"}
    del row["id"]
    log.put({**row, "row_hash": plain_hash(row)})


def edit_before_it_is_sealed(log: Log) -> None:
    further_rows(log)
    newest = {**log.row(17), "actor": "nobody"}
    log.sql("UPDATE audit SET actor = 'nobody', row_hash = :h WHERE id = 17", h=plain_hash(newest))


def delete_before_it_is_sealed(log: Log) -> None:
    further_rows(log)
    log.sql("DELETE FROM audit WHERE id = 17")
    further_rows(log)


def edit_row_leaf_and_root(log: Log) -> None:
    edit_and_hash_without_a_key(log)
    leaves = log.store.database.read(
        lambda c: c.execute(sa.select(audit_seal.c.leaves).where(audit_seal.c.id == 1)).scalar_one()
    )
    changed = leaves[: 24 * 4 + 8] + bytes.fromhex(log.row(ANSWER)["row_hash"])[:16]
    log.sql("UPDATE audit_seal SET leaves = :l, root = :r WHERE id = 1", l=changed, r="0" * 64)


def delete_a_seal_in_the_middle(log: Log) -> None:
    log.sql("DELETE FROM audit_seal WHERE id = 2")
    log.sql("UPDATE audit SET patient_id = 'X' WHERE id = 10")


def begin_an_epoch_unsigned(log: Log) -> None:
    delete_every_seal(log)
    log.sql(
        "INSERT INTO audit_epoch SELECT 2, 16, keyed_from, key_name, begun_utc, actor, 'all well',"
        " previous, given_up, faults, signature FROM audit_epoch"
    )


def call_the_rows_older_than_keys(log: Log) -> None:
    log.sql("UPDATE audit_epoch SET keyed_from = 999")
    edit_and_hash_without_a_key(log)


# --- with the files and the published head too --------------------------------------------------


def cut_off_with_the_head(log: Log) -> None:
    cut_off_the_end(log)
    (log.folder / "audit-head").unlink()


def roll_back_with_an_earlier_head(log: Log) -> None:
    roll_back_with_the_counters(log)
    (log.folder / "audit-head").write_text(log.heads[0].note())


def empty_all_with_the_head(log: Log) -> None:
    delete_everything(log)
    (log.folder / "audit-head").unlink()


# --- with the node's key too --------------------------------------------------------------------


def rewrite_with_the_key(log: Log) -> None:
    key = log.store.audit._keeper.keys
    assert key is not None
    right = keyed_hash({**log.row(ANSWER), "patient_id": "X"}, key.rows)
    log.sql("UPDATE audit SET patient_id = 'X', row_hash = :h WHERE id = :row", row=ANSWER, h=right)
    log.seal_again()


def remove_and_rewrite_with_the_key(log: Log) -> None:
    delete(log)
    log.seal_again()


def acknowledge_it_themselves(log: Log) -> None:
    cut_off_the_end(log)
    log.store.audit.acknowledge(actor="insider", reason="a restored backup")


def begin_anew_with_another_key(log: Log) -> None:
    delete_everything(log)
    for name in ("audit-head", "audit.key"):
        (log.folder / name).unlink()
    log.store.take_key()
    log.sql("DELETE FROM audit_epoch")
    log.bench.store.audit.begin_epoch(
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
)
WITH_FILES_TOO: Sequence[Way] = (
    cut_off_with_the_head,
    roll_back_with_an_earlier_head,
    empty_all_with_the_head,
    rewrite_with_the_key,
    remove_and_rewrite_with_the_key,
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


def named(log: Log, against: Sequence[Head] = ()) -> tuple[AuditFault, ...]:
    return log.store.audit.report(against=against).faults


@pytest.mark.parametrize("way", WITH_THE_DATABASE, ids=lambda way: str(way.__name__))
def test_the_database_alone_is_not_enough(log: Log, way: Way) -> None:
    """It is named at once, and once a housekeeper has sealed; nothing kept elsewhere helps."""
    way(log)
    assert named(log)
    if way in CUTS:
        assert log.store.audit.state().fault
    for _ in range(2):
        log.bench.clock.forward(1)
        log.store.audit.seal()
    assert named(log)
    if way in CUTS:
        assert log.store.audit.state().fault


@pytest.mark.parametrize("way", WITH_FILES_TOO, ids=lambda way: str(way.__name__))
def test_files_and_key_are_not_enough_without_the_account_that_keeps_heads(
    log: Log, way: Way
) -> None:
    way(log)
    assert named(log, log.heads)
    log.bench.clock.forward(1)
    log.store.audit.seal()
    assert named(log, log.heads)


def test_the_heads_of_an_untouched_log_are_in_it(log: Log) -> None:
    further_rows(log)
    log.store.audit.seal()
    assert named(log, log.heads) == ()


def test_who_gave_a_head_up_is_named(log: Log) -> None:
    acknowledge_it_themselves(log)
    reasons = [fault.reason for fault in named(log, log.heads)]
    assert any("insider gave it up with epoch 2: a restored backup" in reason for reason in reasons)
