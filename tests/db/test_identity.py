"""A database that does not belong to the files: it is refused, and moves nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.domain import JobKind, JobState
from hipnode.errors import HipnodeError, StorageUnavailable
from hipnode.settings import Settings
from hipnode.storage import Store
from hipnode.storage.files.disk import YOUNG_S
from hipnode.storage.upkeep.reconcile import FEW
from tests.db.conftest import Bench, OpenStore
from tests.node import write_settings
from tests.results import write_result


def age(path: Path) -> None:
    os.utime(path, (time.time() - YOUNG_S - 10,) * 2)


def received(bench: Bench, number: int) -> Path:
    """Receive an image with its file; return where that lies."""
    relative = f"images/{number:02x}/{number:030x}-{'ab' * 32}.dcm"
    path = bench.store.files.root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"pixels")
    age(path)
    bench.receive(f"{number}.1", f"{number}")
    statement = sa.text("UPDATE instance SET path = :path WHERE sop_instance_uid = :uid")
    bench.store.database.write(
        lambda c: c.execute(statement, {"path": relative, "uid": f"{number}.1"})
    )
    return path


def settings_of(bench: Bench, **tables: Any) -> Settings:
    url = bench.settings.database.url.get_secret_value()
    folder = bench.settings.node.data_dir
    return Settings.model_validate(
        {"node": {"data_dir": folder}, "database": {"url": url}} | tables
    )


def listed(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".db" not in path.name
    }


def test_another_database_is_refused_before_anything_is_touched(
    bench: Bench, tmp_path: Path
) -> None:
    received(bench, 1)
    folder = bench.settings.node.data_dir
    other = Settings.model_validate({"node": {"data_dir": tmp_path / "other"}})
    Store.open(other, migrate=True).close()
    before = listed(folder)
    wrong = settings_of(bench, database={"url": other.database_url})
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="nothing has been touched"):
            Store.open(wrong, migrate=True)
    assert listed(folder) == before
    assert Store.open(settings_of(bench)).reconcile().files_without_row == 0


def test_a_database_that_is_not_there_is_not_made_beside_files_that_belong_to_one(
    bench: Bench, tmp_path: Path
) -> None:
    """The secret with PostgreSQL's URL is missing, or the URL of the SQLite file is mistyped."""
    received(bench, 1)
    before = listed(bench.settings.node.data_dir)
    typed_wrong = f"sqlite:///{tmp_path / 'typo.db'}"
    with pytest.raises(StorageUnavailable, match="There is no database at"):
        Store.open(settings_of(bench, database={"url": typed_wrong}), migrate=True)
    assert not (tmp_path / "typo.db").exists()
    if not bench.store.database.is_sqlite:
        with pytest.raises(StorageUnavailable, match="postgresql"):
            Store.open(settings_of(bench, database={"url": ""}), migrate=True)
        assert not (bench.settings.node.data_dir / "hipnode.db").exists()
    assert listed(bench.settings.node.data_dir) == before


def test_files_that_say_nothing_are_not_taken_for_those_of_a_database_that_has_some(
    bench: Bench, tmp_path: Path
) -> None:
    received(bench, 1)
    (tmp_path / "empty" / "images").mkdir(parents=True)
    elsewhere = settings_of(
        bench,
        node={"data_dir": tmp_path / "empty"},
        database={"url": str(bench.store.database.engine.url)},
    )
    with pytest.raises(StorageUnavailable, match="Is the folder mounted"):
        Store.open(elsewhere)


def test_an_upgrade_joins_a_database_with_the_files_that_it_knows_and_no_others(
    bench: Bench,
) -> None:
    paths = [received(bench, number) for number in range(1, 5)]
    folder = bench.settings.node.data_dir

    def as_before_there_were_identities() -> None:
        (folder / "node-identity").unlink()
        bench.store.database.write(lambda c: c.execute(sa.text("UPDATE node SET joined = false")))

    as_before_there_were_identities()
    Store.open(settings_of(bench)).close()
    assert (folder / "node-identity").exists()
    as_before_there_were_identities()
    for path in paths[:3]:
        path.rename(path.with_name(path.name.replace("ab", "cd")))
    with pytest.raises(StorageUnavailable, match="the database knows 1"):
        Store.open(settings_of(bench))


def test_adopting_is_on_purpose_and_audited(bench: Bench, tmp_path: Path) -> None:
    received(bench, 1)
    other = Settings.model_validate({"node": {"data_dir": tmp_path / "other"}})
    Store.open(other, migrate=True).close()
    config = write_settings(
        tmp_path / "adopt.toml",
        {
            "node": {"data_dir": other.node.data_dir},
            "database": {"url": str(bench.store.database.engine.url)},
            "audit": {"key_file": bench.settings.audit_key_file},
        },
    )
    command = ["adopt", "--config", str(config), "--reason", "the old disk is gone"]
    with pytest.raises(HipnodeError):
        CliRunner().invoke(app, ["status", "--config", str(config)], catch_exceptions=False)
    assert CliRunner().invoke(app, command, input="n\n").exit_code == 1
    done = CliRunner().invoke(app, [*command, "--yes"])
    assert done.exit_code == 0, done.output
    assert "node_adopted" in bench.events()
    Store.open(
        settings_of(
            bench,
            node={"data_dir": other.node.data_dir},
            database={"url": str(bench.store.database.engine.url)},
            audit={"key_file": bench.settings.audit_key_file},
        )
    ).close()


# --- where much does not fit ----------------------------------------------------------------------


def test_many_files_without_rows_stay_until_a_person_says_so(bench: Bench) -> None:
    kept = [received(bench, number) for number in range(1, FEW + 2)]
    bench.store.database.write(
        lambda c: c.execute(sa.text("UPDATE instance SET path = 'images/00/gone.dcm'"))
    )
    done = bench.store.reconcile()
    assert (done.files_without_row, done.rows_without_file) == (0, 0)
    assert all(path.exists() for path in kept)
    states = {job.state for job in bench.store.lookups.jobs(kind=JobKind.READ)}
    assert states == {JobState.QUEUED}
    assert any("hipnode reconcile --yes" in fault for fault in bench.store.faults())
    done = bench.store.reconcile(yes=True)
    assert (done.files_without_row, done.rows_without_file) == (FEW + 1, FEW + 1)
    assert bench.store.faults() == []


def test_what_was_put_aside_comes_back_by_itself_and_its_work_goes_on(bench: Bench) -> None:
    path = received(bench, 1)
    uid = {"path": str(path.relative_to(bench.store.files.root))}
    forget = sa.text("UPDATE instance SET path = 'images/00/gone.dcm'")
    remember = sa.text("UPDATE instance SET path = :path")
    bench.store.database.write(lambda c: c.execute(forget))
    done = bench.store.reconcile()
    assert (done.files_without_row, done.rows_without_file) == (1, 1)
    assert not path.exists()
    bench.store.database.write(lambda c: c.execute(remember, uid))
    assert bench.store.reconcile().brought_back == 1
    assert path.read_bytes() == b"pixels"
    (job,) = bench.store.lookups.jobs(kind=JobKind.READ)
    assert job.state is JobState.QUEUED


def test_what_an_earlier_release_put_aside_comes_back_too(bench: Bench) -> None:
    path = received(bench, 1)
    relative = f"images/{path.parent.name}/{'0' * 29}1-{'ab' * 8}.dcm"
    statement = sa.text("UPDATE instance SET path = :path")
    bench.store.database.write(lambda c: c.execute(statement, {"path": relative}))
    path.rename(bench.store.files.root / "quarantine" / relative.replace("images/01/", "01-"))
    assert bench.store.reconcile().brought_back == 1
    assert bench.store.files.path(relative).exists()


# --- names and races ------------------------------------------------------------------------------


def put(bench: Bench, uid: str, digest: str, data: bytes) -> str:
    incoming = bench.store.files.incoming()
    incoming.write(data)
    return bench.store.files.keep(incoming, uid, digest)


def test_contents_whose_digests_begin_alike_have_names_of_their_own(bench: Bench) -> None:
    first = put(bench, "1.3", "0123456789abcdef" + "1" * 48, b"first")
    second = put(bench, "1.3", "0123456789abcdef" + "2" * 48, b"second")
    assert bench.store.files.path(first).read_bytes() == b"first"
    assert bench.store.files.path(second).read_bytes() == b"second"


def test_an_image_that_comes_again_while_its_file_is_deleted_keeps_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the moment: between the look and the deletion, the same content arrives."""
    name = put(bench, "1.2", "ab" * 32, b"pixels")
    path = bench.store.files.path(name)
    age(path)
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        monkeypatch.undo()
        put(bench, "1.2", "ab" * 32, b"pixels")  # and is acknowledged
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert not bench.store.files.delete(name, unless_touched_since_s=time.time() - YOUNG_S)
    assert path.read_bytes() == b"pixels"
    assert [p.suffix for p in path.parent.iterdir()] == [".dcm"]


def test_a_crash_in_a_deletion_loses_nothing_that_is_needed(bench: Bench) -> None:
    path = received(bench, 1)
    path.rename(path.with_name(f"{path.name}.going"))
    assert bench.store.reconcile().rows_without_file == 0
    assert path.read_bytes() == b"pixels"


def test_the_copy_under_the_name_of_an_earlier_release_goes(bench: Bench) -> None:
    """The same content comes again: it has its whole digest in its name now."""
    digest = (b"a".hex() * 64)[:64]
    new = put(bench, "1.2.3.1", digest, b"pixels")
    old = new.replace(digest, digest[:16])
    (bench.store.files.root / old).write_bytes(b"pixels")
    for relative in (old, new):
        age(bench.store.files.path(relative))
    bench.receive()
    statement = sa.text("UPDATE instance SET path = :path")
    bench.store.database.write(lambda c: c.execute(statement, {"path": new}))
    assert bench.store.reconcile().retired == 1
    assert [bench.store.files.exists(old), bench.store.files.exists(new)] == [False, True]


def test_results_are_put_aside_and_come_back_like_images(bench: Bench) -> None:
    relative = write_result(bench.store.files, "2.25.9", b"sr")
    age(bench.store.files.path(relative))
    assert bench.store.reconcile().files_without_row == 1
    assert not bench.store.files.exists(relative)
    ((now_at, names),) = bench.store.files.aside()
    assert names == (relative,)
    bench.store.files.bring_back(now_at, relative)
    assert bench.store.files.path(relative).read_bytes() == b"sr"


def test_opening_once_more_is_harmless(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    first.store.audit.seal()
    assert second.store.audit.verify() is None


def test_a_folder_that_cannot_say_whose_it_is_is_refused(bench: Bench) -> None:
    """A bucket may be away for a while; a folder that cannot be read is a fault."""
    settings, told = settings_of(bench), bench.settings.node.data_dir / "node-identity"
    Store.open(settings).close()
    told.unlink()
    told.mkdir()
    with pytest.raises(StorageUnavailable):
        Store.open(settings)
