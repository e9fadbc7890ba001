"""``hipnode conform``: the validators that the project's own tests run, at a user's site."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from hipnode.cli.show import plain

PIXELMED_JAR: Final = Path("/usr/share/java/pixelmed.jar")
_XPATH_LIMITS: Final = [f"-Djdk.xml.xpath{limit}=0" for limit in (
    "TotalOpLimit", "ExprOpLimit", "ExprGrpLimit")]  # fmt: skip
"""PixelMed's style sheets are larger than Java 17 allows by default (JAXP0801002, …003)."""

_SHORT_LIVED: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_BATCH: Final = """
import javax.xml.transform.Transformer;

public class Batch {
  static void readOnce(Object validator, String pass) throws ReflectiveOperationException {
    var field = validator.getClass().getDeclaredField(pass);
    field.setAccessible(true);
    var transformer = (Transformer) field.get(validator);
    var resolver = transformer.getURIResolver();
    transformer.setURIResolver((name, base) -> {
      var source = resolver.resolve(name, base);
      if (source != null) source.setSystemId(name);
      return source;
    });
  }

  public static void main(String[] files) throws Exception {
    var validator = new com.pixelmed.validate.DicomSRValidator();
    try {
      readOnce(validator, "transformerPass1");
      readOnce(validator, "transformerPass2");
    } catch (ReflectiveOperationException e) { }  // another version: it takes longer
    for (String file : files) {
      System.out.println("== " + file);
      try { System.out.println(validator.validate(file)); }
      catch (Exception e) { System.out.println("Error: " + e); }
    }
  }
}
"""
"""All files in one process. PixelMed's context groups (660 kB of XML) come without a name, so its
style sheets read them anew for each code that they look up: 3 s of a file's 3.2. A name mends that.
"""

_GROUP = r".*/CONTAINER \(125007,DCM,\"Measurement Group\"\)"
KNOWN_WARNINGS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "dciodvfy": (
        (r"Unrecognized defined term <99HIPNODE>", "a private coding scheme, declared as such"),
        (r"Unrecognized defined term <2\.25\.\d+> .*<Coding Scheme UID>", "and its UID"),
        (r"not present in standard DICOM IOD - \(0x0018,0x1002\)", "Device UID, newer than 2022"),
        (
            r"only permitted to be empty when actually unknown.*<Laterality>",
            "it is: the image names neither its side nor an unpaired body part",
        ),
        (r"needed to build DICOMDIR", "the source does not say it, and nothing is made up"),
        (r"this is a Standard Extended SOP Class", "because of it"),
    ),
    "pixelmed": (
        (
            _GROUP + r"/CODE \((263225007|64859006),SCT,.*\): Content Item not in template",
            "TID 1410 may hold any qualitative evaluation (row 14); this copy is of 2022",
        ),
        (
            _GROUP + r"/CODE \((FX_RISK|DOUBT_BECAUSE|NHFD_CLASS),99HIPNODE,.*\): "
            r"Content Item not in template",
            "the same",
        ),
        (
            _GROUP + r"/CODE \(111101,DCM,\"Image Quality\"\): Content Item not in template",
            "the same",
        ),
        (
            r"/CONTAINER \(18748-4,LN,\"Diagnostic imaging report\"\).*not in template",
            "a Basic Text SR follows no template",
        ),
    ),
}
"""Warnings that are known and harmless, with the reason; any other is worth a look."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one validator said of one file."""

    validator: str
    path: str
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # without those that are known and harmless
    known: int = 0


Validator = Callable[[Sequence[Path]], Iterator[Verdict]]


def _verdict(validator: str, path: Path, errors: list[str], warnings: list[str]) -> Verdict:
    known = [pattern for pattern, _ in KNOWN_WARNINGS.get(validator, ())]
    new = tuple(w for w in warnings if not any(re.search(pattern, w) for pattern in known))
    return Verdict(validator, str(path), tuple(errors), new, len(warnings) - len(new))


def _output(command: Sequence[str]) -> tuple[int, str]:
    """Run a validator; its output may hold raw bytes of a name in any character set."""
    done = subprocess.run(  # noqa: S603 - a validator, by its full path
        command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=600
    )
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def dciodvfy(paths: Sequence[Path]) -> Iterator[Verdict]:
    """David Clunie's dicom3tools: every object against its IOD."""
    program = shutil.which("dciodvfy") or "dciodvfy"
    for path in paths:
        _, text = _output([program, str(path)])
        lines = text.splitlines()
        errors = [x for x in lines if x.startswith(("Error", "Abort")) or "Segmentation" in x]
        if not lines:
            errors = ["dciodvfy said nothing"]
        yield _verdict("dciodvfy", path, errors, [x for x in lines if x.startswith("Warning")])


def pixelmed(paths: Sequence[Path], jar: Path = PIXELMED_JAR) -> Iterator[Verdict]:
    """PixelMed's SR validator: content trees against the templates of PS3.16."""
    java = shutil.which("java") or "java"
    start = [java, *_SHORT_LIVED, *_XPATH_LIMITS, "-cp", str(jar)]
    said = _pixelmed_batch(start, paths) or {
        path: _output([*start, "com.pixelmed.validate.DicomSRValidator", str(path)])[1]
        for path in paths
    }
    for path in paths:
        lines = said[path].splitlines()
        errors = [x for x in lines if "Error" in x or "Exception" in x]
        if not any("IOD validation complete" in x for x in lines):
            errors.append("PixelMed did not finish")
        yield _verdict("pixelmed", path, errors, [x for x in lines if x.startswith("Warning")])


def _pixelmed_batch(start: Sequence[str], paths: Sequence[Path]) -> dict[Path, str] | None:
    """Validate all files in one Java process (0.2 s a file, not 8), where Java can compile."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "Batch.java")
        source.write_text(_BATCH, encoding="ascii")
        _, text = _output([*start, str(source), *map(str, paths)])
    parts = re.split(r"^== (.*)$", text, flags=re.MULTILINE)
    said = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {p: said[str(p)] for p in paths} if {str(p) for p in paths} <= set(said) else None


def dsrdump(paths: Sequence[Path]) -> Iterator[Verdict]:
    """DCMTK's reader of structured reports."""
    program = shutil.which("dsrdump") or "dsrdump"
    for path in paths:
        status, text = _output([program, str(path)])
        errors = [x for x in text.splitlines() if x.startswith(("E:", "F:"))]
        if status:
            errors.append(f"dsrdump ended with {status}")
        yield _verdict("dsrdump", path, errors, [])


def highdicom(paths: Sequence[Path]) -> Iterator[Verdict]:
    """Read measurement reports back with highdicom."""
    from hipnode.reporting import read_back

    for path in paths:
        try:
            empty = not read_back(path)
        except ValueError as error:
            yield Verdict("highdicom", str(path), (str(error),))
        else:
            yield Verdict("highdicom", str(path), ("no measurement group",) if empty else ())


def plan(paths: Sequence[Path]) -> tuple[list[tuple[Validator, list[Path]]], list[str]]:
    """Return which validator looks at which files, and what is missing for the others."""
    from pydicom import dcmread

    from hipnode.domain import ResultKind
    from hipnode.reporting import KINDS

    classes = {p: dcmread(p, specific_tags=["SOPClassUID"], force=True) for p in paths}
    kinds = {p: KINDS.get(ds.get("SOPClassUID", "")) for p, ds in classes.items()}
    measured = [p for p in paths if kinds[p] is ResultKind.SR]
    structured = [p for p in paths if kinds[p] in (ResultKind.SR, ResultKind.TEXT)]
    steps: list[tuple[Validator, list[Path]]] = [(highdicom, measured)]
    missing = []
    if shutil.which("dciodvfy"):
        steps.append((dciodvfy, list(paths)))
    else:
        missing.append("dciodvfy (Debian: dicom3tools)")
    if shutil.which("dsrdump"):
        steps.append((dsrdump, structured))
    else:
        missing.append("dsrdump (Debian: dcmtk)")
    if shutil.which("java") and PIXELMED_JAR.is_file():
        steps.append((pixelmed, structured))
    else:
        missing.append("PixelMed's SR validator (Debian: libpixelmed-java, default-jdk-headless)")
    return [(validator, files) for validator, files in steps if files], missing


def conform(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files or folders.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
    strict: Annotated[bool, typer.Option(help="Fail on warnings that are not known, too.")] = False,
) -> None:
    """Run the validators that are installed here over DICOM objects; exit status 1 on an error."""
    files = [f for p in paths for f in (sorted(p.rglob("*.dcm")) if p.is_dir() else [p])]
    if not files:
        raise typer.BadParameter("no .dcm file there")
    steps, missing = plan(files)
    verdicts = [verdict for validator, chosen in steps for verdict in validator(chosen)]
    for verdict in verdicts:
        _print(verdict, as_json)
    for name in missing:
        typer.echo(f"not run, because not installed: {name}", err=True)
    errors = sum(len(v.errors) for v in verdicts)
    warnings = sum(len(v.warnings) for v in verdicts)
    typer.echo(
        f"{len(files)} files, {len(verdicts)} verdicts: {errors} errors, {warnings} warnings, "
        f"{sum(v.known for v in verdicts)} known and harmless",
        err=as_json,
    )
    if errors or (strict and warnings):
        raise typer.Exit(1)


def _print(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(verdict)))
        return
    word = "ERROR" if verdict.errors else "warn" if verdict.warnings else "ok"
    typer.echo(plain(f"{word:5} {verdict.validator:9} {verdict.path}"))
    for line in (*verdict.errors, *verdict.warnings):
        typer.echo(plain(f"      {line}"))
