"""The report in ten lines of plain English, as Basic Text SR: every viewer can show it.

References
----------
PS3.3 A.35.1 (Basic Text SR), C.17.3 (content tree); PS3.16 CID 7000 (titles), CID 7001 (headings).
"""

from __future__ import annotations

from functools import lru_cache

import highdicom as hd
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage

from hipnode import codes
from hipnode.domain import ResultKind
from hipnode.reporting.documents import document
from hipnode.reporting.envelope import titled
from hipnode.reporting.measurements import not_assessed
from hipnode.reporting.ranking import attention_of
from hipnode.reporting.study import Study
from hipnode.reporting.tree import Content, Leaf, concept, heads_of, plain
from hipnode.reporting.words import phrases_of, report_lines


def text_report(study: Study, *, prepared: bool) -> Dataset:
    """Return the text report of a study: the only document where nothing was read.

    Parameters
    ----------
    study
        The study.
    prepared
        Whether pieces that were made before are filled in; else highdicom makes all of it.
    """
    leaves = _leaves(study)
    if not prepared:
        root = _root()
        root.ContentSequence = plain(leaves)
        return document(study, ResultKind.TEXT, BasicTextSRStorage, root)

    def encoded(encodings: list[str]) -> bytes:
        return b"".join(leaf.encoded(encodings) for leaf in leaves)

    texts = tuple(leaf.value for leaf in leaves if isinstance(leaf.value, str))
    content = Content(_heads(), texts, encoded)
    return document(study, ResultKind.TEXT, BasicTextSRStorage, content)


def _root() -> hd.sr.ContainerContentItem:
    return hd.sr.ContainerContentItem(
        name=concept(codes.DIAGNOSTIC_REPORT), is_content_continuous=False
    )


@lru_cache(maxsize=1)
def _heads() -> tuple[RawDataElement | DataElement, ...]:
    return heads_of(_root())


def _leaves(study: Study) -> list[Leaf]:
    language = phrases_of(study.request).concept
    items = [
        Leaf(codes.LANGUAGE, language, "HAS CONCEPT MOD"),
        Leaf(codes.COMMENT, titled(study)),
    ]
    # OHIF breaks no line of a "Finding" (121071), so that its end is out of sight
    names = {"Impression": codes.IMPRESSION, "Finding": codes.IMPRESSION}
    items += [
        Leaf(names.get(heading, codes.COMMENT), sentence)
        for heading, sentence in report_lines(study.request)
    ]
    items.append(Leaf(codes.ATTENTION, codes.ATTENTIONS[attention_of(study.request.sources).value]))
    for source in study.request.sources:
        items += not_assessed(source)
    return items
