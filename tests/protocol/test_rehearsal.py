"""``hipnode config check --live``: what cannot run is said before it runs."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from pynetdicom import evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.errors import DestinationRejects, SettingsInvalid
from hipnode.nets.bundle.setfile import SHIPPED
from hipnode.services.courier.ways.dimse import application_entity, associate
from hipnode.settings import DestinationSettings, load
from tests.archive import Orthanc
from tests.node import destination, write_settings
from tests.peers import free_port


class Typed:
    """Types the command, with settings that are well but for what a test changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, **tables: Any) -> tuple[int, list[str]]:
        settings: dict[str, Any] = {
            "node": {"data_dir": self._folder / "data"},
            "listener": {"port": 0, "callers": [{"ae_title": "PACS"}]},
            "retention": {"disk_low_bytes": 0},
        }
        for name, table in tables.items():
            settings[name] = {**settings.get(name, {}), **table} if name in settings else table
        config = write_settings(self._folder / "hipnode.toml", settings)
        done = CliRunner().invoke(app, ["config", "check", "--live", "--config", str(config)])
        lines = done.stdout.splitlines()
        assert done.exit_code == any(line.startswith("FAULT") for line in lines), done.output
        return done.exit_code, lines


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    return Typed(tmp_path)


def only(lines: list[str], state: str, words: str) -> str:
    """Return the one line of a state that has these words in it."""
    (line,) = [line for line in lines if line.startswith(state) and words in line]
    return line


def test_what_is_well_is_said_to_be(typed: Typed, orthanc: Orthanc, tmp_path: Path) -> None:
    status, lines = typed(destinations=[destination(orthanc, "archive")])
    assert status == 0, lines
    assert not (tmp_path / "data").exists()  # nothing is changed by trying
    only(lines, "ok", "answers C-ECHO")
    only(lines, "ok", "takes Secondary Capture Image Storage")
    only(lines, "ok", "murphy2022-cnn2")
    only(lines, "ok", "can be bound")
    only(lines, "advice", "the first start makes it")


def test_a_wrong_ae_title_is_named(typed: Typed, orthanc: Orthanc) -> None:
    _, lines = typed(destinations=[destination(orthanc, "archive", ae_title="WRONGAE")])
    line = only(lines, "FAULT", "destinations.archive")
    assert f"{orthanc.host}:{orthanc.port} does not know the called AE title WRONGAE" in line


def test_a_rejection_is_understood_however_late_the_caller_wakes(orthanc: Orthanc) -> None:
    """On a busy machine the rejection is there, and the socket closed, before it is looked at."""
    place = DestinationSettings(**destination(orthanc, "archive", ae_title="WRONGAE"))
    ae = application_entity(place, "HIPNODE")
    ae.add_requested_context(Verification)
    late = [(evt.EVT_REQUESTED, lambda _: time.sleep(0.5))]
    with pytest.raises(DestinationRejects, match="does not know the called AE title WRONGAE"):
        associate(ae, place, None, late)


def test_nobody_there_is_a_fault(typed: Typed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    place = {"name": "gone", "host": "127.0.0.1", "port": port, "ae_title": "X", "timeout_s": 2}
    _, lines = typed(destinations=[place])
    only(lines, "FAULT", "no connection")


def test_what_a_destination_does_not_take_is_named(
    typed: Typed, storescp: Callable[..., Any]
) -> None:
    """storescp takes every object of storage, and knows nothing of commitment."""
    peer = storescp()
    _, lines = typed(destinations=[destination(peer, "peer", storage_commitment=True)])
    only(lines, "FAULT", "does not take Storage Commitment Push Model")
    only(lines, "ok", "answers C-ECHO")


def test_nobody_who_sends_and_nobody_who_receives(typed: Typed) -> None:
    _, lines = typed(listener={"callers": []})
    only(lines, "FAULT", "every association will be refused")
    only(lines, "advice", "nothing is sent anywhere")


def test_a_port_that_somebody_else_has(typed: Typed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        _, lines = typed(listener={"port": taken.getsockname()[1]})
    only(lines, "FAULT", "listener.port")


def test_the_port_of_final_reports_is_tried_too(typed: Typed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, lines = typed(feedback={"port": port})
        assert "cannot be bound" in only(lines, "FAULT", "feedback.port")
    only(lines, "advice", "feedback.senders")
    status, lines = typed(feedback={"port": port, "senders": ["10.0.0.5"]})
    only(lines, "ok", "feedback.port")
    assert (status, "feedback.senders" in str(lines)) == (0, False)


def test_two_doors_with_one_port(typed: Typed) -> None:
    """Each by itself could be bound."""
    port = free_port()
    _, lines = typed(listener={"port": port}, feedback={"port": port})
    only(lines, "ok", "listener.port")
    only(lines, "FAULT", "feedback.port")


def test_model_sets_that_cannot_be_used(typed: Typed, tmp_path: Path) -> None:
    damaged = shutil.copytree(SHIPPED, tmp_path / "damaged")
    weights = damaged / "murphy2022-cnn2" / "models" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    sets = [{"set": "nope.toml", "shadow": True}, {"set": str(damaged / "default.toml")}]
    _, lines = typed(worker={"model_sets": sets})
    assert "images are taken and reported without it" in only(lines, "FAULT", "(shadow)")
    only(lines, "FAULT", "worker.model_sets.1.set")


def test_keys_and_certificates(typed: Typed, tmp_path: Path) -> None:
    authority = trustme.CA()
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=10)
    files = {}
    for name, end in (("soon", soon), ("other", None)):
        made = authority.issue_cert("localhost", not_after=end)
        files[name] = tmp_path / f"{name}.crt", tmp_path / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(files[name][0]))
        made.private_key_pem.write_to_path(str(files[name][1]))
    certificate, key = files["soon"]
    _, lines = typed(listener={"tls": {"certificate": certificate, "key": key}})
    only(lines, "ok", "certificate and key belong together")
    only(lines, "advice", "listener.tls.certificate: ends on")
    _, lines = typed(listener={"tls": {"certificate": certificate, "key": files["other"][1]}})
    only(lines, "FAULT", "listener.tls:")
    _, lines = typed(feedback={"tls": {"certificate": certificate, "key": files["other"][1]}})
    only(lines, "FAULT", "feedback.tls:")
    only(lines, "advice", "feedback.tls.certificate: ends on")


def test_an_unknown_key_is_found_and_understood(tmp_path: Path) -> None:
    for key, table, meant in (
        ("prot", "[listener]", "port"),
        ("ae_titel", "[[listener.callers]]", "ae_title"),
        ("adress", "[[destinations]]", None),
        ("destination", "", "destinations"),
    ):
        file = tmp_path / "hipnode.toml"
        file.write_text(f'{table}\n# a line of its own\n{key} = "1"\n')
        with pytest.raises(SettingsInvalid) as caught:
            load(file)
        line = next(line for line in str(caught.value).splitlines() if f"{key}: " in line)
        assert "(line 3)" in line
        assert ("did you mean" in line) == (meant is not None)
        if meant:
            assert line.endswith(f"did you mean {meant}?")
