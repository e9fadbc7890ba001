"""What gets out of the node: no patient's name in what it writes, no port but the settings'."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tests.account import settled
from tests.archive import Orthanc
from tests.node import Node, destination
from tests.peers import eventually, listening_ports
from tests.protocol.wire import Wire, associate_rq
from tests.senders import SAMPLES, storescu

pytestmark = pytest.mark.timeout(400)
MARK = "ZQXJ"
TEXT_VRS = {"LO": 64, "SH": 16, "PN": 64, "LT": 200, "ST": 200, "UT": 200}
ATTACKS = ("'; DROP TABLE job;--", '\r\n{"event": "forged"}', "\x1b[2J", "%s%n{0}", "../../etc")
KEEP = {"Manufacturer"}  # nothing here depends on the rest


def marked(source: Path, target: Path) -> Path:
    """Write a copy with a mark, and an attack, in every text attribute that an image may have."""
    ds = dcmread(source)
    keywords = (
        "PatientName PatientID IssuerOfPatientID AccessionNumber StudyDescription "
        "SeriesDescription InstitutionName InstitutionAddress StationName OperatorsName "
        "ReferringPhysicianName PerformingPhysicianName PhysiciansOfRecord OtherPatientNames "
        "PatientComments PatientAddress PatientMotherBirthName MedicalRecordLocator "
        "AdditionalPatientHistory EthnicGroup Occupation ImageComments StudyID ProtocolName "
        "InstitutionalDepartmentName ManufacturerModelName DeviceSerialNumber SoftwareVersions "
        "RequestedProcedureDescription RequestedProcedureID PerformedProcedureStepDescription "
        "AdmittingDiagnosesDescription AcquisitionDeviceProcessingDescription DetectorID "
        "RequestingPhysician RequestingService CurrentPatientLocation"
    ).split()
    present = [element.keyword for element in ds if element.VR in TEXT_VRS and element.keyword]
    for number, keyword in enumerate(sorted({*keywords, *present} - KEEP)):
        length = TEXT_VRS.get(dictionary_VR(keyword), 0)
        if length:
            attack = ATTACKS[number % len(ATTACKS)]
            if keyword == "PatientID" and not attack.isprintable():
                attack = ATTACKS[0]  # the door refuses control characters there
            value = f"{MARK}{number}{attack}"[:length].replace("\\", "")
            ds.add(_element(keyword, value))
    private = ds.private_block(0x0011, f"{MARK} PRIVATE", create=True)
    private.add_new(0x01, "LO", f"{MARK}private")
    item = Dataset()
    item.CodeMeaning, item.CodeValue, item.CodingSchemeDesignator = f"{MARK}code", MARK, "99X"
    ds.ProcedureCodeSequence = [item]
    ds.save_as(target)
    return target


def _element(keyword: str, value: str):  # type: ignore[no-untyped-def]
    from pydicom.dataelem import DataElement

    return DataElement(Tag(keyword), dictionary_VR(keyword), value, validation_mode=0)


def broken(source: Path, target: Path) -> Path:
    """Write a copy that cannot be decoded: errors quote what they do not understand."""
    ds = dcmread(source)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID[:50]}.7"
    ds.StudyInstanceUID = f"{ds.StudyInstanceUID[:50]}.7"
    ds.Rows = 7
    ds["BitsStored"].value = 99
    ds.save_as(target)
    return target


@pytest.fixture
def node(tmp_path: Path, orthanc: Orthanc) -> Node:
    return Node(
        tmp_path / "node",
        destinations=[destination(orthanc, objects=["sr", "capture", "text"])],
        queue={"max_attempts": 2},
        log={"level": "debug"},
    )


def test_no_patient_is_named_outside_store_and_database_and_no_text_does_anything(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    image = marked(SAMPLES[0], tmp_path / "marked.dcm")
    bad = broken(image, tmp_path / "broken.dcm")
    assert image.read_bytes().count(MARK.encode()) > 30
    node.start()
    try:
        with Wire(node.port) as wire:  # a calling AE title is a text, too
            wire.send(associate_rq(calling="'; DROP--%s", called=f"{MARK}X"))
            assert wire.pdu()[0] == 3
        storescu(node, [image, bad])
        found = settled(node)
        assert found["account"]["received"] == 2
        said = [
            node.cli(*command, check=False)
            for command in (("status",), ("status", "--json"), ("config", "check"),
                            ("audit", "verify"))
        ]  # fmt: skip
    finally:
        node.stop()
    assert orthanc.instances()
    # The store and the database are where patients' data belong; nothing else has any.
    ours = {"images", "results", "quarantine", "incoming"}
    for path in sorted(node.folder.rglob("*")):
        inside = path.relative_to(node.folder).parts
        belongs = (
            inside[0] == "data"
            and inside[-1] != "data"
            and (inside[1] in ours or inside[1].startswith("hipnode.db"))
        )
        if path.is_file() and not belongs:
            assert MARK.encode() not in path.read_bytes(), path
    for done in said:
        assert MARK not in done.stdout + done.stderr
    assert not [line for line in node.log.splitlines() if line.startswith('{"event": "forged"')]
    assert "\x1b" not in node.log
    with sqlite3.connect(node.data_dir / "hipnode.db") as database:
        assert database.execute("SELECT count(*) FROM job").fetchone()[0] >= 3


def test_nothing_listens_but_the_listener_on_its_address(node: Node) -> None:
    node.start()
    try:
        assert node.process

        def ports() -> set[tuple[int, int]]:
            return {(pid, port) for pid in node.process.family() for port in listening_ports(pid)}

        eventually(lambda: "model_set_loaded" in node.log, timeout_s=180)
        assert {port for _, port in ports()} == {node.port}
        tables = [
            Path(f"/proc/{node.process.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")
        ]
        mine = [
            line.split()[1]
            for table in tables
            for line in table.splitlines()[1:]
            if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == node.port
        ]
        assert mine == [f"0100007F:{node.port:04X}"], "127.0.0.1, and no other address"
    finally:
        node.stop()
