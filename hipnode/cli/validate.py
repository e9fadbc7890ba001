"""``hipnode validate``: how good is it on my images?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hipnode import DISCLAIMER
from hipnode.cli.checks import number
from hipnode.cli.node import ConfigOption

if TYPE_CHECKING:
    from hipnode.settings import Settings
    from hipnode.storage import Store
    from hipnode.validation.cases import Gathered
    from hipnode.validation.labels import Label, Unused
    from hipnode.validation.run import Done


Folder = Annotated[Path | None, typer.Argument(help="The folder of the images.")]
LabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="What is true of them (CSV; see docs/cli.md).")
]
Out = Annotated[Path, typer.Option("--out", help="Where the report goes.")]
Broken = Annotated[
    Path | None, typer.Option(help="Instead of labels: a folder of images with a fracture.")
]
Intact = Annotated[Path | None, typer.Option(help="... and one of images without any.")]
FromNode = Annotated[
    bool, typer.Option("--from-node", help="Judge what the node has read; read nothing.")
]
SetOption = Annotated[
    str | None, typer.Option("--set", help="Judge this model set, not the settings'.")
]
Split = Annotated[
    str | None, typer.Option(help="Of a manifest: the rows of this split (train, val, test) alone.")
]
Alarms = Annotated[
    float,
    typer.Option(
        min=0.001, max=0.5, callback=number, help="The share of intact images to be suspected."
    ),
]
Definite = Annotated[
    float | None,
    typer.Option(
        min=0, max=0.5, callback=number, help="The share of them to be called definite (0.01)."
    ),
]
Apply = Annotated[
    Path | None, typer.Option(help="Write the thresholds as a new model set, into this folder.")
]
Pictures = Annotated[
    int, typer.Option(min=0, help="So many misses and false alarms are shown; 0: none.")
]
Positive = Annotated[
    list[str] | None, typer.Option(help="A word of the labels that means a fracture.")
]
Negative = Annotated[list[str] | None, typer.Option(help="A word of the labels that means none.")]


def validate(
    folder: Folder = None,
    labels: LabelsOption = None,
    out: Out = Path("report"),
    broken: Broken = None,
    intact: Intact = None,
    from_node: FromNode = False,
    model_set: SetOption = None,
    split: Split = None,
    false_alarms: Alarms = 0.1,
    definite_false_alarms: Definite = None,
    apply: Apply = None,
    gallery: Pictures = 24,
    positive: Positive = None,
    negative: Negative = None,
    config: ConfigOption = None,
) -> None:
    """Judge the whole chain on images of your own: one page, refusals included."""
    from hipnode import settings
    from hipnode.services.modelsets import ModelSets
    from hipnode.services.worker.reader import reader_spec
    from hipnode.validation import cases, run
    from hipnode.validation.labels import Words

    if definite_false_alarms is None:
        definite_false_alarms = min(0.01, false_alarms)
    if definite_false_alarms > false_alarms:
        raise typer.BadParameter("--definite-false-alarms is more than --false-alarms")
    words = Words.with_more(positive or (), negative or ())
    given, unused = _labels(labels, broken, intact, words, split)
    _check(folder, labels, from_node=from_node)
    _check_places(out, apply)
    effective = settings.load(config)
    worker = effective.worker
    if model_set is not None:
        worker = worker.model_copy(update={"model_set": model_set, "model_sets": ()})
        effective = effective.model_copy(update={"worker": worker})
    sets, spec = ModelSets(worker), reader_spec(effective)
    wanted = run.Wanted(
        source="the node" if from_node else str(folder or f"{broken} and {intact}"),
        labels=str(labels or "the two folders"),
        read_now=not from_node,
        false_alarms=false_alarms,
        definite_false_alarms=definite_false_alarms,
        gallery=gallery,
        apply_to=apply,
    )
    with _store(effective, labels, from_node=from_node) as store:
        if store is not None:
            if model_set is None:
                sets.follow(store.desk.choices.confirmed())
            digest = next(iter(sets.references)) if model_set else None
            gathered = cases.from_node(store, given, sets, digest)
        else:
            with _progress() as tell:
                gathered = cases.read_folder(folder, given, spec, sets, tell=tell)
        gathered = _with(gathered, unused)
        done = run.validate(gathered, wanted, spec, _locate(store), sets.references)
        page = run.write(done.report, out)
    _tell(done, page, apply)


def _labels(
    labels: Path | None, broken: Path | None, intact: Path | None, words: Any, split: str | None
) -> tuple[list[Label], list[Unused]]:
    from hipnode.validation.labels import of_folders, read_labels

    if labels is not None and broken is None and intact is None:
        return read_labels(labels, words, split)
    if labels is None and broken is not None and intact is not None and split is None:
        for one in (broken, intact):
            if not one.is_dir():
                raise typer.BadParameter(f"{one} is no folder")
        return of_folders(broken, intact), []
    raise typer.BadParameter("give --labels (with --split or without), or --broken and --intact")


def _check(folder: Path | None, labels: Path | None, *, from_node: bool) -> None:
    if from_node and (folder is not None or labels is None):
        raise typer.BadParameter("--from-node goes with --labels, and without a folder")
    if not from_node and (folder is None) != (labels is None):
        raise typer.BadParameter("--labels goes with the folder of the images")
    if folder is not None and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is no folder")


def _check_places(out: Path, apply: Path | None) -> None:
    """Refuse, before hours of reading, what can then not be written."""
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"{out} is no folder")
    if apply is not None and apply.exists():
        raise typer.BadParameter(f"{apply} is there already; a model set is never replaced")


@contextmanager
def _store(effective: Settings, labels: Path | None, *, from_node: bool) -> Iterator[Store | None]:
    """Open the node's store, and put on the audit log that somebody looks at its readings."""
    if not from_node:
        yield None
        return
    import getpass

    from hipnode.domain import AuditEvent, AuditRecord
    from hipnode.storage import Store

    store = Store.open(effective)
    try:
        detail = {"command": "validate", "labels": labels.name if labels else ""}
        record = AuditRecord(AuditEvent.AUDIT_QUERIED, actor=getpass.getuser(), detail=detail)
        store.audit.append(record)
        yield store
    finally:
        store.close()


@contextmanager
def _progress() -> Iterator[Any]:
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task("images", total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _with(gathered: Gathered, unused: list[Unused]) -> Gathered:
    from dataclasses import replace

    return replace(gathered, unused=(*unused, *gathered.unused))


def _locate(store: Store | None) -> Any:
    """Return what finds the file of an image."""
    from hipnode.errors import HipnodeError

    def locate(case: Any) -> Path | None:
        if store is None or not case.stored:
            return case.path  # type: ignore[no-any-return]
        try:
            return store.files.path(case.stored)
        except HipnodeError:
            return None

    return locate


def _tell(done: Done, page: Path, apply: Path | None) -> None:
    from hipnode.validation.outcomes import Said

    images = done.report.parts[0]
    for name, row in (("with a fracture", images.broken), ("without", images.intact)):
        counts = ", ".join(f"{row.counts[said]} {said.value}" for said in Said if row.counts[said])
        typer.echo(f"{row.total} images {name}: {counts or 'none'}")
    for one in done.report.unused[:20]:
        typer.echo(f"not used: {one.at}: {one.what}: {one.why}", err=True)
    if len(done.report.unused) > 20:
        typer.echo(f"not used: {len(done.report.unused) - 20} more, see the page", err=True)
    proposal = done.report.proposal
    if proposal is not None:
        found = f"doubtful_from {proposal.doubtful.threshold:g}"
        typer.echo(f"proposed: {found}, present_from {proposal.definite.threshold:g}")
    else:
        typer.echo(f"no thresholds proposed: {done.report.no_proposal}")
    if done.applied is not None:
        typer.echo(f"{done.applied.path}\nsha256 = {done.applied.digest}")
    typer.echo(f"{page}\n{DISCLAIMER}")
    if done.refused:
        typer.echo(f"hipnode: the thresholds were not written: {done.refused}", err=True)
    if apply is not None and done.applied is None:
        raise typer.Exit(1)
