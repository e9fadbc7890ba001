"""``hipnode models``: what the node reads with, and taking in or giving away bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hipnode.cli import choose
from hipnode.cli.checks import device_of
from hipnode.cli.show import cell

app = typer.Typer(no_args_is_help=True, help="List, show, verify, import and export model bundles.")

SetOption = Annotated[
    str, typer.Option("--set", help="A shipped model set's name, or a model set file.")
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", help="Refuse what this public key (PEM) did not sign.")
]
Bundle = Annotated[
    str, typer.Argument(help="A bundle's folder, or a role of the set, as `models list` shows it.")
]

app.command("choice")(choose.choice)
app.command("propose")(choose.propose)
app.command("confirm")(choose.confirm)
app.command("decline")(choose.decline)


@app.command("list")
def list_(model_set: SetOption = "default") -> None:
    """Show the models of a set: role, name, version, digest, size."""
    from rich.console import Console
    from rich.table import Table

    from hipnode.nets.bundle.contents import METADATA, verify
    from hipnode.nets.bundle.setfile import pins
    from hipnode.nets.bundle.spec import read_spec

    table = Table("role", "model", "version", "network", "MB", "sha256", box=None)
    for role, (folder, pinned) in sorted(pins(model_set).items()):
        files, digest = verify(folder)
        spec = read_spec(files[METADATA], digest)
        size = sum(len(content) for content in files.values()) / 1e6
        mark = digest[:16] if digest == pinned else f"{digest[:16]} (NOT THE PINNED ONE)"
        row = (role, spec.name, spec.version, spec.network, f"{size:.1f}", mark)
        table.add_row(*map(cell, row))
    Console(width=140).print(table)


@app.command()
def show(bundle: Bundle, model_set: SetOption = "default") -> None:
    """Print a bundle's model card and what the node knows of it, as JSON."""
    import dataclasses
    import json

    from hipnode.nets.bundle.contents import CARD, METADATA, verify
    from hipnode.nets.bundle.setfile import bundle_folder
    from hipnode.nets.bundle.spec import read_spec

    files, digest = verify(bundle_folder(bundle, model_set))
    spec = read_spec(files[METADATA], digest)
    typer.echo(files[CARD].decode())
    typer.echo(json.dumps(dataclasses.asdict(spec), indent=2))


@app.command()
def verify(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder or a role; empty: all.")] = "",
    model_set: SetOption = "default",
    device: Annotated[
        str,
        typer.Option(
            help="cpu, openvino, cuda or torch-cpu",
            callback=device_of("cpu", "openvino", "torch-cpu"),
        ),
    ] = "cpu",
    key: KeyOption = None,
) -> None:
    """Check digests, load, and run the golden input; with a key, check signatures as well."""
    from hipnode.nets import load_bundle, load_model_set
    from hipnode.nets.bundle.setfile import bundle_folder, pins
    from hipnode.nets.bundle.signature import check

    if key:
        for name in [bundle] if bundle else pins(model_set):
            check(bundle_folder(name, model_set), key)
    if bundle:
        spec = load_bundle(bundle_folder(bundle, model_set), device=device, threads=1).spec
        typer.echo(f"{spec.name} {spec.version}: good, sha256 {spec.digest}")
        return
    loaded = load_model_set(model_set, device=device, threads=1)  # type: ignore[arg-type]
    for kind, models in (("", loaded.models), ("/clinical", loaded.clinical)):
        for role, model in models.items():
            typer.echo(f"{role}{kind}: {model.spec.name} {model.spec.version}: good")
    typer.echo(f"model set {loaded.name}: good, sha256 {loaded.digest}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A bundle's folder or ZIP file.")],
    shelf: Annotated[Path, typer.Option("--to", help="The folder to put it into.")],
    key: KeyOption = None,
) -> None:
    """Take a bundle in, if it verifies, loads and gives its golden output."""
    from hipnode.nets.load.archive import import_bundle

    model = import_bundle(source, shelf, key)
    typer.echo(f"{model.path}\nsha256 = {model.spec.digest}")


@app.command()
def export(
    bundle: Bundle,
    archive: Annotated[Path, typer.Argument(help="The ZIP file to write.")],
    model_set: SetOption = "default",
    sign_with: Annotated[
        Path | None, typer.Option("--sign", help="A private Ed25519 key (PEM): sign the copy.")
    ] = None,
) -> None:
    """Write a bundle as one ZIP file."""
    from hipnode.nets.bundle.setfile import bundle_folder
    from hipnode.nets.load.archive import export_bundle

    folder = bundle_folder(bundle, model_set)
    typer.echo(f"sha256 = {export_bundle(folder, archive, sign_with)}")
