"""Files: durable under names of our own, compared with the rows, deleted when nobody needs them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from hipnode.domain import JobKind, JobState
from hipnode.errors import DiskFull, StorageUnavailable
from hipnode.services.housekeeper.service import Housekeeper, run
from hipnode.storage import Store
from hipnode.storage.files.disk import YOUNG_S, FileStore
from tests.db.conftest import Bench, OpenStore
from tests.peers import eventually
from tests.results import write_result

DAY_S = 86_400


def put(files: FileStore, data: bytes, uid: str = "1.2.3", digest: str = "ab" * 32) -> str:
    incoming = files.incoming()
    incoming.write(data)
    return files.keep(incoming, uid, digest)


def age(path: Path, seconds: float = YOUNG_S + 10) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_file_has_no_lasting_name_before_it_is_kept(tmp_path: Path) -> None:
    files = FileStore(tmp_path)
    incoming = files.incoming()
    incoming.write(b"half")
    assert list(files.files("images")) == []
    incoming.abort()
    assert list(files.files("incoming")) == []


def test_a_kept_file_is_found_again_and_kept_once(tmp_path: Path) -> None:
    files = FileStore(tmp_path)
    first, second = put(files, b"data"), put(files, b"data")
    assert first == second
    assert files.path(first).read_bytes() == b"data"
    assert len(list(files.files("images"))) == 1
    assert list(files.files("incoming")) == []
    assert put(files, b"other", digest="cd" * 32) != first


def test_a_senders_text_never_becomes_a_path(tmp_path: Path) -> None:
    files = FileStore(tmp_path / "store")
    relative = put(files, b"data", uid="../../../../etc/passwd")
    assert files.path(relative).is_relative_to(files.root)
    assert "passwd" not in relative
    with pytest.raises(StorageUnavailable):
        files.path("../outside")
    (files.root / "images" / "link").symlink_to(tmp_path)
    with pytest.raises(StorageUnavailable):
        files.path("images/link/outside")


def test_files_are_for_the_nodes_eyes_only(tmp_path: Path) -> None:
    files = FileStore(tmp_path)
    for relative in (put(files, b"data"), write_result(files, "2.25.1", b"result")):
        path = files.path(relative)
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0


def test_results_are_whole_or_absent(tmp_path: Path) -> None:
    files = FileStore(tmp_path)
    relative = write_result(files, "2.25.1", b"result")
    assert files.path(relative).read_bytes() == b"result"
    assert write_result(files, "2.25.1", b"result") == relative
    assert len(list(files.files("results"))) == 1


def test_a_full_disk_is_a_storage_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    from hipnode.storage.files.incoming import IncomingFile

    incoming = IncomingFile.__new__(IncomingFile)
    incoming._descriptor = os.open(full, os.O_WRONLY)
    incoming.size_bytes = 0
    with pytest.raises(DiskFull) as caught:
        incoming.write(b"x")
    assert caught.value.dimse_status == 0xA700
    os.close(incoming._descriptor)


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnavailable):
        FileStore(tmp_path / "file" / "store")


# --- rows and files ---------------------------------------------------------------------------


def test_a_row_without_its_file_is_given_up(bench: Bench) -> None:
    bench.receive("1.1", "1")  # the bench makes rows only
    assert bench.store.reconcile().rows_without_file == 1
    (job,) = bench.store.lookups.jobs(kind=JobKind.READ)
    assert (job.state, job.error) == (JobState.QUARANTINED, "the image's file is missing")
    assert bench.store.reconcile().rows_without_file == 0


def test_a_folder_that_is_not_mounted_is_not_an_empty_store(
    bench: Bench, open_store: OpenStore
) -> None:
    path = received(bench)
    data = bench.settings.node.data_dir
    elsewhere = data.with_name("unmounted")
    (data / "images").rename(elsewhere)
    for _ in range(2):  # the first refusal must not make what the second looks for
        with pytest.raises(StorageUnavailable, match="mounted"):
            open_store()
    elsewhere.rename(data / "images")
    again = open_store()
    assert again.store.reconcile().rows_without_file == 0
    assert path.exists()


def test_a_file_without_its_row_is_put_aside(bench: Bench) -> None:
    files = bench.store.files
    unknown = files.path(put(files, b"never acknowledged"))
    assert bench.store.reconcile().files_without_row == 0, "its association may still be open"
    age(unknown)
    assert bench.store.reconcile().files_without_row == 1
    assert not unknown.exists()
    (aside,) = files.files("quarantine")
    assert aside.read_bytes() == b"never acknowledged"


def test_half_received_files_of_dead_listeners_are_deleted(bench: Bench) -> None:
    old, young = bench.store.files.incoming(), bench.store.files.incoming()
    age(old.path)
    assert bench.store.reconcile().abandoned == 1
    assert not old.path.exists()
    assert young.path.exists()
    young.abort()


def test_old_views_are_deleted_without_a_word(bench: Bench) -> None:
    old, young = (bench.store.files.views_folder / name for name in ("old.npy", "young.npy"))
    for view in (old, young):
        view.write_bytes(b"a picture")
    age(old)
    assert bench.store.reconcile().abandoned == 0, "nothing was half received"
    assert not old.exists()
    assert young.exists()


# --- retention --------------------------------------------------------------------------------


def received(bench: Bench, uid: str = "1.2.3.1") -> Path:
    """Receive an image whose file is there, and old."""
    path = bench.store.files.root / f"images/{uid}-a.dcm"
    path.write_bytes(b"pixels")
    bench.receive(uid)
    age(path)
    return path


def test_images_go_when_they_are_old_and_delivered(bench: Bench) -> None:
    path = received(bench)
    bench.read()
    bench.report()
    bench.clock.forward(15 * DAY_S)
    assert bench.store.retire().images == 0, "a result of theirs is not delivered"
    bench.deliver()
    assert bench.store.retire().images == 1
    assert not path.exists()
    assert "files_retired" in bench.events()
    assert bench.store.lookups.instance(1).digest, "the row stays"
    assert bench.store.retire().images == 0


def test_what_a_crash_has_kept_of_retired_images_goes_at_the_next_start(bench: Bench) -> None:
    path = received(bench)
    needed = received(bench, "1.2.3.2")
    for _ in range(2):
        bench.read()
    bench.report()
    bench.deliver()
    bench.clock.forward(15 * DAY_S)
    assert bench.store.retire().images == 2
    bench.receive("1.2.3.2")  # it has come again
    for kept in (path, needed):  # as if the crash had come between row and file
        kept.write_bytes(b"pixels")
        age(kept)
    assert bench.store.reconcile().retired == 1
    assert [path.exists(), needed.exists()] == [False, True]


def test_young_images_stay(bench: Bench) -> None:
    path = received(bench)
    bench.read()
    bench.report()
    bench.deliver()
    bench.clock.forward(13 * DAY_S)
    assert bench.store.retire().images == 0
    assert path.exists()


@pytest.mark.parametrize("stage", ["queued", "quarantined", "read", "reported", "undelivered"])
def test_images_that_somebody_needs_stay_however_old(bench: Bench, stage: str) -> None:
    path = received(bench)
    if stage == "quarantined":
        bench.store.recovery.quarantine(bench.take(), "a person may requeue it")
        bench.report()
        bench.deliver()
    elif stage != "queued":
        bench.read()
        if stage != "read":
            bench.report()
        if stage == "undelivered":
            bench.store.recovery.quarantine(
                bench.take(JobKind.DELIVER, destination="pacs"), "refused"
            )
    bench.clock.forward(1000 * DAY_S)
    assert bench.store.retire().images == 0
    assert path.exists()


def test_results_stay_until_they_are_delivered(bench: Bench) -> None:
    received(bench)
    bench.read()
    job = bench.take(JobKind.REPORT)
    relative = write_result(bench.store.files, "2.25.9", b"sr")
    age(bench.store.files.path(relative))
    made = bench.new_result()
    made = type(made)(made.kind, made.sop_class_uid, "2.25.9", relative, made.sha256)
    bench.store.ledger.finish_report(job, [made], ["pacs"])
    bench.clock.forward(91 * DAY_S)
    assert bench.store.retire().results == 0
    bench.deliver()
    assert bench.store.retire().results == 1
    assert not bench.store.files.path(relative).exists()


def test_an_image_that_comes_again_while_it_is_retired_keeps_its_file(bench: Bench) -> None:
    path = received(bench)
    bench.read()
    bench.report()
    bench.deliver()
    bench.clock.forward(15 * DAY_S)
    path.touch()  # what FileStore.keep does when the same content comes again
    bench.store.retire()
    assert path.exists()
    bench.receive()
    bench.clock.forward(1)
    assert bench.store.retire().images == 0, "its time begins anew"


# --- the housekeeper --------------------------------------------------------------------------


def test_the_housekeeper_keeps_house(open_store: OpenStore) -> None:
    bench = open_store(housekeeper={"sweep_s": 0.2, "seal_s": 0.2})
    received(bench)
    bench.take(JobKind.READ)
    bench.clock.forward(61)
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(bench.settings, bench.store, stop))
    thread.start()
    eventually(lambda: bench.store.lookups.jobs(kind=JobKind.READ)[0].state is JobState.QUEUED, 10)
    eventually((bench.settings.node.data_dir / "audit-head").exists, 10)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert bench.store.audit.seal() == 0, "it seals once more when it stops"


def test_a_disk_that_runs_low_is_noted_once_and_makes_room(open_store: OpenStore) -> None:
    bench = open_store(retention={"disk_low_bytes": 2**62, "images_days": 1})
    received(bench)
    bench.read()
    bench.report()
    bench.deliver()
    bench.clock.forward(2 * DAY_S)
    keeper = Housekeeper(bench.settings, bench.store)
    keeper.sweep()
    keeper.sweep()
    assert bench.events().count("disk_low") == 1
    assert bench.events().count("files_retired") == 1


def test_the_housekeeper_outlives_a_database_that_is_away(bench: Bench) -> None:
    keeper = Housekeeper(bench.settings, bench.store)
    said: list[str] = []

    def fails() -> None:
        said.append("tried")
        raise StorageUnavailable

    task = keeper.guarded(fails)
    task()
    task()
    assert said == ["tried", "tried"]


def test_a_broken_audit_log_is_noticed(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.db.test_audit import tamper, write

    write(bench, 3)
    tamper(bench, "UPDATE audit SET actor = 'X' WHERE id = 2")
    Housekeeper(bench.settings, bench.store).verify()
    assert "audit_broken" in "".join(capsys.readouterr())
    assert bench.events()[-1] == "audit_verified"


def test_a_store_can_be_closed_twice(open_store: OpenStore) -> None:
    store: Store = open_store().store
    store.close()
    store.close()
