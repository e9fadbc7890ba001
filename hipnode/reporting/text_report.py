"""The report in ten lines of plain English, as Basic Text SR: every viewer can show it.

References
----------
PS3.3 A.35.1 (Basic Text SR), C.17.3 (content tree); PS3.16 CID 7000 (titles), CID 7001 (headings).
"""

from __future__ import annotations

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage

from hipnode import codes
from hipnode.domain import ResultKind
from hipnode.reporting.documents import document
from hipnode.reporting.envelope import titled
from hipnode.reporting.measurements import concept, not_assessed
from hipnode.reporting.ranking import attention_of
from hipnode.reporting.study import Study
from hipnode.reporting.words import phrases_of, report_lines


def text_report(study: Study) -> Dataset:
    """Return the text report of a study: the only document where nothing was read."""
    root = hd.sr.ContainerContentItem(
        name=concept(codes.DIAGNOSTIC_REPORT), is_content_continuous=False
    )
    items: list[hd.sr.ContentItem] = [
        hd.sr.CodeContentItem(
            name=concept(codes.LANGUAGE),
            value=concept(phrases_of(study.request).concept),
            relationship_type="HAS CONCEPT MOD",
        ),
        hd.sr.TextContentItem(
            name=concept(codes.COMMENT),
            value=titled(study),
            relationship_type="CONTAINS",
        ),
    ]
    # OHIF breaks no line of a "Finding" (121071), so that its end is out of sight
    names = {"Impression": codes.IMPRESSION, "Finding": codes.IMPRESSION}
    for heading, sentence in report_lines(study.request):
        items.append(
            hd.sr.TextContentItem(
                name=concept(names.get(heading, codes.COMMENT)),
                value=sentence,
                relationship_type="CONTAINS",
            )
        )
    when = codes.ATTENTIONS[attention_of(study.request.sources).value]
    items.append(
        hd.sr.CodeContentItem(
            name=concept(codes.ATTENTION), value=concept(when), relationship_type="CONTAINS"
        )
    )
    for source in study.request.sources:
        items += not_assessed(source)
    root.ContentSequence = hd.sr.ContentSequence(items)
    return document(study, ResultKind.TEXT, BasicTextSRStorage, root)
