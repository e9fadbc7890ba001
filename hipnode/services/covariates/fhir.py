"""Values from FHIR R4: Observations of a Bundle, of NDJSON, or one by itself, from a file.

An Observation names its patient by an identifier (``subject.identifier``, or that of a Patient in
the same file) and its examination by an accession number (an identifier of ``basedOn``, or of the
ServiceRequest or ImagingStudy in the same file that ``basedOn`` or ``derivedFrom`` refers to).

References
----------
FHIR R4: Observation, Bundle, Reference.identifier, ObservationStatus, identifier-type (ACSN).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hipnode.codes import FHIR_SYSTEMS
from hipnode.errors import InputRefused
from hipnode.services.covariates.message import Order
from hipnode.services.covariates.values import Said, by_status

_FINAL: Final = frozenset({"final", "amended", "corrected"})
_TAKES_BACK: Final = frozenset({"entered-in-error", "cancelled"})
_SCHEMES: Final = {system: scheme for scheme, system in FHIR_SYSTEMS.items()}

Resource = dict[str, Any]


def orders(document: str, codes: Mapping[str, str]) -> Iterator[Order]:
    """Yield the values of each Observation whose code the settings name.

    Parameters
    ----------
    document
        JSON, or NDJSON.
    codes
        Names of covariates by scheme:value; the scheme is as in DICOM (LN, SCT), else the system's
        URI.

    Raises
    ------
    InputRefused
        If it is no FHIR resource.
    """
    resources = list(_resources(document))
    known = {key: one for url, one in resources for key in _keys(url, one)}
    for _, one in resources:
        if one.get("resourceType") == "Observation" and (name := _named(one, codes)):
            yield _order(one, name, known)


def _resources(document: str) -> Iterator[tuple[str, Resource]]:
    try:
        try:
            roots = [json.loads(document)]
        except json.JSONDecodeError:
            roots = [json.loads(line) for line in document.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise InputRefused("The file is neither JSON nor NDJSON.") from error
    for root in roots:
        if not isinstance(root, dict) or not isinstance(root.get("resourceType"), str):
            raise InputRefused("The file holds something that is no FHIR resource.")
        if root["resourceType"] != "Bundle":
            yield "", root
            continue
        for entry in _dicts(root.get("entry")):
            if isinstance(resource := entry.get("resource"), dict):
                yield str(entry.get("fullUrl") or ""), resource


def _keys(url: str, one: Resource) -> list[str]:
    """Return what a Reference may call a resource."""
    relative = f"{one.get('resourceType')}/{one['id']}" if one.get("id") else ""
    return [key for key in (url, relative) if key]


def _named(one: Resource, codes: Mapping[str, str]) -> str:
    for coding in _dicts(_dict(one.get("code")).get("coding")):
        system = str(coding.get("system") or "")
        key = f"{_SCHEMES.get(system, system)}:{coding.get('code')}"
        if key in codes:
            return codes[key]
    return ""


def _order(one: Resource, name: str, known: Mapping[str, Resource]) -> Order:
    status = str(one.get("status") or "")[:20]
    read, unit, why = _value(one)
    value, why = by_status(status, _FINAL, _TAKES_BACK, read, why)
    exams = [*_dicts(one.get("basedOn")), *_dicts(one.get("derivedFrom"))]
    said = Said(
        accession_number="",  # `take` chooses it
        patient_ids=tuple(_identifiers([_dict(one.get("subject"))], known)),
        name=name,
        value=value,
        unit=unit,
        measured=str(one.get("effectiveDateTime") or one.get("effectiveInstant") or ""),
        corrected=status != "final",
    )
    return Order(tuple(_identifiers(exams, known)), ((said, why),))


def _value(one: Resource) -> tuple[str, str, str]:
    """Return the value as text, its unit, and why there is none."""
    quantity = one.get("valueQuantity")
    if isinstance(quantity, dict):
        number = quantity.get("value")
        if quantity.get("comparator"):
            return "", "", "a range, and no value"
        if isinstance(number, bool) or not isinstance(number, int | float):
            return "", "", "not a plain number"
        try:
            shown = f"{number:.9f}".rstrip("0").rstrip(".")
        except OverflowError:  # an integer of some hundred digits
            return "", "", "not a plain number"
        return shown, str(quantity.get("code") or quantity.get("unit") or ""), ""
    if isinstance(answer := one.get("valueBoolean"), bool):
        return "yes" if answer else "no", "", ""
    for coding in _dicts(_dict(one.get("valueCodeableConcept")).get("coding")):
        return str(coding.get("code") or ""), "", ""  # Y and N of HL7's table 0136
    return str(one.get("valueString") or ""), "", ""


def _identifiers(references: Sequence[Resource], known: Mapping[str, Resource]) -> list[str]:
    """Return the identifiers in References, and those of what they refer to.

    One that says that it is an accession number comes first: as long as none of the images is here,
    it cannot be told from an order's number otherwise.
    """
    found: list[Resource] = []
    for each in references:
        target = _dict(known.get(str(each.get("reference") or "")))
        found += _dicts([each.get("identifier")]) + _dicts(target.get("identifier"))
    found.sort(key=lambda each: not _is_accession(each))
    return list(dict.fromkeys(str(each["value"]) for each in found if each.get("value")))


def _is_accession(identifier: Resource) -> bool:
    codings = _dicts(_dict(identifier.get("type")).get("coding"))
    return any(coding.get("code") == "ACSN" for coding in codings)


def _dict(value: Any) -> Resource:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Resource]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
