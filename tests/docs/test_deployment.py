"""What is in docker/: linted, and true about the settings, the commands and the files it names."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import psycopg
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hipnode.cli import app
from hipnode.domain import JobKind, JobState
from hipnode.domain.services import SERVICES
from hipnode.settings import load
from tests.peers import ROOT, require, run

DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
UNIT = DOCKER / "systemd" / "hipnode.service"
UNITS = sorted((DOCKER / "systemd").glob("*.service"))
KUBERNETES_VERSION = "1.30"
COMMANDS = {command.name for command in app.registered_commands}


def _manifests() -> list[Any]:
    return [
        pytest.param(document, id=f"{path.name}:{document['kind']}/{document['metadata']['name']}")
        for path in sorted((DOCKER / "kubernetes").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def _environment(text: str) -> dict[str, str]:
    return dict(re.findall(r"(HIPNODE_\w+)[=:] *(\S+)", text))


# --- container image --------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    run([Path(sys.executable).parent / "hadolint", DOCKER / "Dockerfile"])


def test_the_dockerfile_copies_what_is_there_and_not_ignored() -> None:
    ignore = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert {f"!{source}", f"!{source.split('/')[0]}"} & set(ignore)


def test_the_image_runs_as_nobody_in_particular() -> None:
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)


def test_the_image_installs_from_the_lock_file_with_hashes() -> None:
    (install,) = re.findall(r"pip install (.+) --requirement requirements.lock", DOCKERFILE)
    assert "--require-hashes" in install.split()


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", {"", "desk", "postgresql", "s3"}),
        ("tests/requirements.lock", {"", "test", "train"}),
    ],
)
def test_the_lock_file_holds_what_pyproject_asks_for(lock: str, extras: set[str]) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE))
    assert len(locked) == len([line for line in text.splitlines() if not line.startswith("#")])
    assert "://" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    for line in (line for extra in extras for line in groups[extra]):
        wanted = Requirement(line)
        if wanted.name == "hipnode" or (wanted.marker and not wanted.marker.evaluate()):
            continue
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)], prereleases=True)


def test_the_images_environment_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = _environment(DOCKERFILE)
    assert variables.pop("HIPNODE_CONFIG") == "/etc/hipnode/hipnode.toml"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load(ROOT / "config" / "hipnode.toml")
    assert str(settings.node.data_dir) == "/var/lib/hipnode"
    assert settings.listener.host == "0.0.0.0"  # noqa: S104 - inside a container


# --- compose ----------------------------------------------------------------------------------


def test_compose_accepts_the_file() -> None:
    run(
        [require("docker-compose", "docker-compose"), "-f", DOCKER / "compose.yaml", "config", "-q"]
    )


def test_compose_starts_each_service_once() -> None:
    commands = [
        service["command"] for service in COMPOSE["services"].values() if "command" in service
    ]
    assert sorted(commands) == sorted([service.command] for service in SERVICES)


def test_compose_hands_the_databases_url_over_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables = COMPOSE["x-hipnode"]["environment"]
    assert list(variables) == ["HIPNODE_DATABASE__URL_FILE"]
    secret = tmp_path / "db-url"
    secret.write_text("postgresql+psycopg://hipnode:secret@db/hipnode\n", encoding="utf-8")
    monkeypatch.setenv("HIPNODE_DATABASE__URL_FILE", str(secret))
    settings = load(ROOT / "config" / "hipnode.toml")
    assert settings.database_url == "postgresql+psycopg://hipnode:secret@db/hipnode"
    assert "secret@" not in str(settings.masked())


# --- Kubernetes -------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", _manifests())
def test_manifest_is_valid(manifest: dict[str, Any]) -> None:
    if not manifest["apiVersion"].startswith("keda.sh/"):  # a schema that is not Kubernetes' own
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


def test_kubernetes_and_systemd_run_each_service() -> None:
    documents = [parameter.values[0] for parameter in _manifests()]
    pods = [m["spec"]["template"]["spec"] for m in documents if m["kind"] == "Deployment"]
    run_by_pods = [arg for pod in pods for c in pod["containers"] for arg in c["args"][:1]]
    assert sorted(run_by_pods) == sorted(service.command for service in SERVICES)
    unit = (DOCKER / "systemd" / "hipnode@.service").read_text(encoding="utf-8")
    assert [s.command for s in SERVICES if not re.search(rf"\b{s.command}\b", unit)] == []


@pytest.mark.parametrize("manifest", _manifests())
def test_every_pod_is_restricted_and_runs_a_command_that_exists(manifest: dict[str, Any]) -> None:
    if manifest["kind"] != "Deployment":
        return
    pod = manifest["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["args"][0] in COMMANDS
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_the_settings_in_the_config_map_load(tmp_path: Path) -> None:
    (config_map,) = (
        param.values[0] for param in _manifests() if param.values[0]["kind"] == "ConfigMap"
    )
    path = tmp_path / "hipnode.toml"
    path.write_text(config_map["data"]["hipnode.toml"], encoding="utf-8")
    settings = load(path)
    assert settings.listener.callers
    assert settings.destinations
    assert str(settings.database.url_file) == "/run/secrets/hipnode/url"


def test_the_autoscaler_counts_the_images_that_wait(postgres_url: str) -> None:
    (query,) = (
        trigger["metadata"]["query"]
        for param in _manifests()
        if param.values[0]["kind"] == "ScaledObject"
        for trigger in param.values[0]["spec"]["triggers"]
    )
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        assert connection.execute(query).fetchone() == (0,)
    words = set(re.findall(r"'(\w+)'", query))
    assert words == {JobKind.READ.value, JobState.QUEUED.value}


# --- systemd ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_the_unit(source: Path, tmp_path: Path) -> None:
    text = source.read_text(encoding="utf-8").replace("/opt/hipnode/bin/hipnode", "/bin/true")
    unit = tmp_path / source.name.replace("@", "@listen")
    unit.write_text(text, encoding="utf-8")
    done = run([require("systemd-analyze", "systemd"), "verify", unit])
    assert done.stderr == ""


@pytest.mark.parametrize("source", UNITS, ids=lambda path: path.name)
def test_the_unit_is_hardened(source: Path) -> None:
    command = [require("systemd-analyze", "systemd"), "security", "--offline=yes", source]
    exposure = re.search(r"Overall exposure level for .*: ([\d.]+)", run(command).stdout)
    assert exposure
    assert float(exposure[1]) <= 2.0


def test_both_units_are_hardened_alike() -> None:
    def hardening(unit: Path) -> list[str]:
        return unit.read_text(encoding="utf-8").partition("PrivateDevices=yes")[2].splitlines()

    assert len(UNITS) == 2
    assert hardening(UNITS[0]) == hardening(UNITS[1])


def test_the_unit_starts_a_command_that_exists() -> None:
    start = re.search(r"^ExecStart=(.+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert start
    assert shlex.split(start[1])[1] in COMMANDS


# --- shell ------------------------------------------------------------------------------------


def test_shellcheck_has_nothing_to_say_about_our_scripts() -> None:
    names = (".ci/run", "docker/build", "docker/slim", "tests/install-peers", "tests/try-image")
    scripts = [ROOT / name for name in names]
    run([require("shellcheck", "shellcheck"), *scripts])
