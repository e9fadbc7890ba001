"""What is known of a task, or of a service, stands in its table and nowhere else."""

from __future__ import annotations

import re

import pytest

from hipnode.domain import TASKS, Role, Task
from hipnode.domain.services import SERVICES
from tests.peers import ROOT

PACKAGE = ROOT / "hipnode"
TABLE = PACKAGE / "domain" / "tasks.py"


def test_every_task_has_a_row_and_a_role_of_its_own() -> None:
    assert set(TASKS) == set(Task)
    roles = [row.role for row in TASKS.values()]
    assert len(set(roles)) == len(roles)
    assert not set(roles) & {Role.GATE, Role.METAL, Role.LOCALISER}
    for row in TASKS.values():
        assert set(row.words) == {"en", "de", "fr"}


@pytest.mark.parametrize("task", [t for t in Task if t is not Task.HIP_FRACTURE])
def test_no_other_file_knows_a_task_by_name(task: Task) -> None:
    """But for fractures: the verdict and the attention of a study are about them alone."""
    asks = re.compile(rf"\bTask\.{task.name}\b|\bRole\.{TASKS[task].role.name}\b")
    files = {
        p.relative_to(ROOT) for p in PACKAGE.rglob("*.py") if asks.search(p.read_text("utf-8"))
    }
    assert files == {TABLE.relative_to(ROOT)}


def test_no_other_file_lists_the_services() -> None:
    """Three of them named in a row is a list; what one alone does is said where it does it."""
    name = "(?:" + "|".join({s.name for s in SERVICES} | {s.command for s in SERVICES}) + ")"
    lists = re.compile(rf'"{name}",\s*"{name}",\s*"{name}"')
    files = {
        p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py") if lists.search(p.read_text("utf-8"))
    }
    assert files == set()
