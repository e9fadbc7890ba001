"""What hospitals send: mended without inventing, or refused."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from hipnode.dicom.identity import mend_identity
from hipnode.domain import REPORTED, ResultKind, Side
from hipnode.errors import ReportRefused
from hipnode.reporting import NodeIdentity, ReportRequest, build
from hipnode.reporting.request import encoded
from tests import cases, headers
from tests.factory import header, hip, reading, reread, uid


def report(ds: Dataset, **changes: object) -> Dataset:
    """Return the SR of a positive study with this header, as it is read back from its bytes."""
    source = cases.source("1", reading([hip(Side.RIGHT, 0.97)]), ds=ds)
    built = build(cases.request(source, objects=frozenset({ResultKind.SR}), **changes))
    (sr,) = (b for b in built if b.kind is ResultKind.SR)
    return dcmread(BytesIO(sr.to_bytes()))


@pytest.mark.parametrize("script", headers.NAMES)
def test_a_name_in_any_script_comes_back_as_it_was(script: str) -> None:
    terms, name = headers.NAMES[script]
    received = headers.named(script)
    sr = report(received)
    assert sr.PatientName == name
    assert sr.PatientName.components == received.PatientName.components
    kept = sr.SpecificCharacterSet
    assert ([kept] if isinstance(kept, str) else list(kept)) in (terms, ["ISO_IR 192"])


def test_a_plain_name_needs_no_character_set() -> None:
    sr = report(header())
    assert "SpecificCharacterSet" not in sr
    assert sr.PatientName == "Muster^Hanna"


def test_a_character_set_that_cannot_say_everything_gives_way_to_unicode() -> None:
    sr = report(headers.named("greek"), node=NodeIdentity(institution="Hôpital Général"))
    assert sr.SpecificCharacterSet == "ISO_IR 192"
    assert sr.PatientName == headers.NAMES["greek"][1]
    assert sr.InstitutionName == "Hôpital Général"


def test_undeclared_utf8_is_what_it_plainly_is() -> None:
    sr = report(headers.undeclared("Müller^Jürgen", "utf-8"))
    assert sr.PatientName == "Müller^Jürgen"


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF8", "utf-8"),
        ("ISO_IR_192", "utf-8"),
        ("ISO-8859-1", "latin-1"),
        ("ISO IR 100", "latin-1"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_misspelt_character_set_is_read_as_it_was_meant(declared: str, encoding: str) -> None:
    sr = report(headers.undeclared("Müller^Jürgen", encoding, declared))
    assert sr.PatientName == "Müller^Jürgen"


def test_an_undeclared_name_is_left_out_and_not_guessed() -> None:
    received = headers.undeclared("Müller^Jürgen", "latin-1")
    sr = report(received)
    assert sr.PatientName == ""
    assert sr.PatientID == "Pundeclared"
    built = build(cases.request(cases.source("1", reading([hip(Side.LEFT, 0.1)]), ds=received)))
    assert (
        "PatientName left out: it has characters of an undeclared character set" in built[0].notes
    )


def test_a_site_that_knows_its_character_set_says_so() -> None:
    received = headers.undeclared("Müller^Jürgen", "latin-1")
    sr = report(received, node=NodeIdentity(assumed_character_set="ISO_IR 100"))
    assert sr.PatientName == "Müller^Jürgen"


def test_a_name_that_breaks_its_own_character_set_is_left_out() -> None:
    received = headers.undeclared("Müller^Jürgen", "latin-1", "ISO_IR 192")
    assert report(received).PatientName == ""


def test_what_is_missing_is_there_and_empty() -> None:
    sr = report(header(**headers.VARIANTS["no type 2"]))
    for keyword in headers.VARIANTS["no type 2"]:
        assert keyword in sr, keyword
        assert not sr[keyword].value, keyword


@pytest.mark.parametrize(
    ("keyword", "received", "reported"),
    [
        ("PatientSex", "FEMALE", "F"),
        ("PatientSex", "m", "M"),
        ("PatientSex", "D", ""),
        ("PatientSex", "W", ""),
        ("StudyDate", "2026-11-20", "20261120"),
        ("StudyDate", "2026.11.20", "20261120"),
        ("StudyDate", "20260231", ""),
        ("StudyDate", "20.11.2026", ""),
        ("PatientBirthDate", "19400000", ""),
        ("StudyTime", "10:15:00", "101500"),
        ("StudyTime", "101500.5", "101500.5"),
        ("StudyTime", "256161", ""),
        ("AccessionNumber", "A" * 17, ""),
        ("StudyDescription", "d" * 70, "d" * 64),
        ("PatientAge", "086Y", "086Y"),
        ("PatientAge", "86", None),
        ("TimezoneOffsetFromUTC", "+0530", "+0530"),
        ("TimezoneOffsetFromUTC", "CET", None),
        ("IssuerOfPatientID", "HOSPITAL", "HOSPITAL"),
    ],
)
def test_values_are_kept_rewritten_in_the_same_meaning_or_left_out(
    keyword: str, received: str, reported: str | None
) -> None:
    ds = header()
    ds.add_new(keyword, dictionary_VR(keyword), None)
    ds[keyword]._value = received  # as it comes off the wire: pydicom does not check it
    mended = mend_identity(ds)
    assert (str(mended[keyword].value) if keyword in mended else None) == reported


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", ["", "not.a.uid", "...", "1." + "2" * 64])
@pytest.mark.filterwarnings("ignore")
def test_a_uid_that_is_none_is_refused(keyword: str, value: str) -> None:
    with pytest.raises(ReportRefused, match=keyword):
        mend_identity(header(**{keyword: value}))


@pytest.mark.filterwarnings("ignore")
def test_a_patient_id_is_never_cut() -> None:
    with pytest.raises(ReportRefused, match="PatientID has 65 characters"):
        mend_identity(header(PatientID="P" * 65))


def test_a_patient_id_in_an_unknown_character_set_is_refused() -> None:
    ds = reread(header(PatientID="xxxx", SpecificCharacterSet=None))
    raw = ds.get_item("PatientID")
    ds._dict[raw.tag] = raw._replace(value=b"P\xfc12")
    with pytest.raises(ReportRefused, match="undeclared character set"):
        mend_identity(ds)
    assert mend_identity(ds, "ISO_IR 100").PatientID == "Pü12"


def test_images_of_two_studies_are_refused() -> None:
    other = header("1", "2", StudyInstanceUID=uid("other"))
    with pytest.raises(ReportRefused, match="2 different studies"):
        build(two_images({}, other))


def two_images(first: dict[str, str], other: Dataset, **changes: object) -> ReportRequest:
    """Return a request for an image with these attributes, and one that came later."""
    return cases.request(
        cases.source("1", reading([hip(Side.RIGHT, 0.97)]), ds=header(**first)),
        cases.source("1", reading([hip(Side.LEFT, 0.2)], image="2"), "2", ds=other),
        **changes,
    )


@pytest.mark.parametrize("keyword", ["PatientID", "IssuerOfPatientID"])
def test_images_of_two_patients_are_reported_apart(keyword: str) -> None:
    built = build(two_images({}, header("1", "2", **{keyword: "other"})))
    by_patient: dict[str, list[Dataset]] = {}
    for one in built:
        by_patient.setdefault(one.dataset[keyword].value, []).append(one.dataset)
    assert set(by_patient) == {header()[keyword].value, "other"}
    own = {name: {ds.SeriesInstanceUID for ds in made} for name, made in by_patient.items()}
    assert not set.intersection(*own.values())
    assert len({one.sop_instance_uid for one in built}) == len(built)
    for made, image in zip(by_patient.values(), (uid("1", "1"), uid("1", "2")), strict=True):
        assert {ds.SOPClassUID for ds in made} == {one.sop_class_uid for one in built}
        assert all(image in str(ds) for ds in made)
        texts = [encoded(ds) for ds in made if ds.Modality == "SR"]
        assert all(b"CHECK THE IDENTITY" in text for text in texts)


@pytest.mark.parametrize("keyword", ["PatientID", "IssuerOfPatientID"])
def test_an_id_that_one_image_lacks_is_the_other_s(keyword: str) -> None:
    built = build(two_images({keyword: ""}, header("1", "2")))
    assert {one.dataset[keyword].value for one in built} == {header()[keyword].value}


def test_the_newest_name_wins_and_what_carries_it_is_a_new_object() -> None:
    wanted = {"objects": frozenset({ResultKind.CAPTURE, ResultKind.TEXT})}
    before = build(two_images({}, header("1", "2"), **wanted))
    after = build(two_images({}, header("1", "2", PatientName="Right^Name"), **wanted))
    assert {str(one.dataset.PatientName) for one in after} == {"Right^Name"}
    assert not {b.sop_instance_uid for b in before} & {a.sop_instance_uid for a in after}


def test_a_document_replaces_its_own_patient_s_and_those_of_ids_that_are_gone() -> None:
    first = cases.CASES["second-version"].request("1").predecessors[0]
    earlier = tuple(
        replace(first, sop_instance_uid=uid(whose), patient_id=whose, series_instance_uid="1.2")
        for whose in ("P1", "P2", "P0")
    )
    late = header("1", "2", PatientID="P2")
    wanted = two_images({"PatientID": "P1"}, late, version=2, predecessors=earlier)
    named = {}
    for one in build(wanted):
        if one.kind is ResultKind.SR:
            (study,) = one.dataset.PredecessorDocumentsSequence
            (series,) = study.ReferencedSeriesSequence
            assert series.SeriesInstanceUID == "1.2"
            items = series.ReferencedSOPSequence
            named[one.patient_id] = {item.ReferencedSOPInstanceUID for item in items}
    assert named == {"P1": {uid("P1"), uid("P0")}, "P2": {uid("P2"), uid("P0")}}


def test_what_one_image_lacks_another_may_have() -> None:
    first = cases.source(
        "1", reading([hip(Side.RIGHT, 0.97)]), ds=header(AccessionNumber="", PatientSex=None)
    )
    second = cases.source("1", reading([hip(Side.LEFT, 0.2)], image="2"), "2")
    for built in build(cases.request(first, second)):
        assert built.dataset.AccessionNumber == "ACC1"
        assert built.dataset.PatientSex == "F"


def test_the_request_is_carried_over() -> None:
    asked = Dataset()
    asked.RequestedProcedureID = "RP7"
    asked.AccessionNumber = "ACC7"
    asked.PlacerOrderNumberImagingServiceRequest = "PL7"
    asked.ScheduledProcedureStepID = "S7"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "XP", "99SITE", "XR pelvis"
    asked.RequestedProcedureCodeSequence = [code]
    ds = header(RequestAttributesSequence=[asked])
    sr = report(ds)
    (item,) = sr.ReferencedRequestSequence
    assert item.StudyInstanceUID == ds.StudyInstanceUID
    assert item.AccessionNumber == "ACC7"
    assert item.RequestedProcedureID == "RP7"
    assert item.PlacerOrderNumberImagingServiceRequest == "PL7"
    assert item.FillerOrderNumberImagingServiceRequest == ""
    assert item.RequestedProcedureCodeSequence[0].CodeMeaning == "XR pelvis"
    request = cases.request(cases.source("1", reading([hip(Side.RIGHT, 0.97)]), ds=ds))
    capture = next(b.dataset for b in build(request) if b.kind is ResultKind.CAPTURE)
    assert capture.RequestAttributesSequence[0].ScheduledProcedureStepID == "S7"


@pytest.mark.parametrize(
    ("done", "asked", "said"),
    [(True, True, "done"), (False, True, "asked"), (False, False, "363679005")],
)
def test_the_procedure_is_what_was_done_or_else_asked_for(
    done: bool, asked: bool, said: str
) -> None:
    def coded(value: str) -> Dataset:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99SITE", "XR pelvis"
        return item

    request = Dataset()
    request.RequestedProcedureCodeSequence = [coded("asked")] if asked else []
    half = Dataset()
    half.CodeValue = "half a code"
    sr = report(
        header(
            ProcedureCodeSequence=[half, coded("done")] if done else [half],
            RequestAttributesSequence=[request],
        )
    )
    (named,) = (
        item.ConceptCodeSequence[0].CodeValue
        for item in sr.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "121058"  # Procedure reported
    )
    assert named == said


def test_the_scanner_and_the_model_have_contributed() -> None:
    sr = report(header())
    scanner, model = sr.ContributingEquipmentSequence
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert (scanner.Manufacturer, scanner.StationName) == ("ACME", "XRAY2")
    assert scanner.InstitutionName == "General Hospital"
    assert model.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert (model.ManufacturerModelName, model.SoftwareVersions) == (
        "hip-fracture-densenet",
        "1.0.0",
    )
    assert sr.Manufacturer == "hipnode"


@pytest.mark.parametrize(
    ("offset", "site", "day", "time", "stated"),
    [
        (None, "", "20261121", "060000", None),
        ("+0100", "", "20261121", "070000", "+0100"),
        ("-0800", "+0100", "20261120", "220000", "-0800"),
        (None, "+0530", "20261121", "113000", "+0530"),
    ],
)
def test_times_are_in_the_zone_of_the_source_or_the_site(
    offset: str | None, site: str, day: str, time: str, stated: str | None
) -> None:
    sr = report(header(TimezoneOffsetFromUTC=offset), node=NodeIdentity(timezone_offset=site))
    assert (sr.ContentDate, sr.ContentTime) == (day, time)
    assert sr.get("TimezoneOffsetFromUTC") == stated
    assert sr.StudyTime == "101500"


@pytest.mark.parametrize("name", headers.VARIANTS)
def test_every_variant_is_reported(name: str) -> None:
    kinds = {b.kind for b in build(headers.variant(name))}
    assert kinds == REPORTED


def test_no_warning_quotes_the_patient(recwarn: pytest.WarningsRecorder) -> None:
    received = reread(header(**headers.VARIANTS["dates impossible"], PatientName="Very^Secret"))
    recwarn.clear()
    mend_identity(received)
    assert not [w for w in recwarn if "1940" in str(w.message) or "Secret" in str(w.message)]


def test_the_source_is_not_changed() -> None:
    ds = header(**headers.VARIANTS["dates with dashes"])
    before = ds.to_json()
    mend_identity(ds)
    assert ds.to_json() == before
