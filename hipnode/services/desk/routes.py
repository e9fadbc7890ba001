"""The one table of who may see what. What stands here is what is served, and what the tests try."""

from __future__ import annotations

from typing import Final

from hipnode.domain import AuditEvent
from hipnode.domain.people import Role
from hipnode.services.desk import oidc, sign_in
from hipnode.services.desk.pages import (
    accounts,
    export,
    faults,
    glance,
    log,
    models,
    right,
    selftests,
    studies,
)
from hipnode.services.desk.roles import (
    ALL,
    AUDITOR,
    FIGURES,
    GLASS,
    MODELS,
    PATIENTS,
    PROPOSING,
    READER,
    RUNNING,
    Route,
)

_VIEWED: Final = AuditEvent.RESULT_VIEWED
_QUERIED: Final = AuditEvent.AUDIT_QUERIED
_EXPORTED: Final = AuditEvent.AUDIT_EXPORTED
_ADMIN: Final = frozenset({Role.ADMIN})

ROUTES: Final[tuple[Route, ...]] = (
    Route("/", glance.glance, ALL, title="At a glance"),
    Route("/faults", faults.faults, RUNNING | AUDITOR, title="Faults"),
    Route("/faults/requeue", faults.requeue_form, RUNNING),
    Route("/faults/requeue", faults.requeue, RUNNING, method="POST"),
    Route("/studies", studies.studies, PATIENTS, _VIEWED, title="Studies"),
    # Those of a study: also whoever broke the glass, which `studies.opened` asks for.
    Route("/studies/{uid}", studies.story, PATIENTS | GLASS, _VIEWED),
    Route("/studies/{uid}/captures/{number}", studies.capture, PATIENTS | GLASS, _VIEWED),
    Route("/studies/{uid}/export", export.export, AUDITOR, _EXPORTED),
    Route("/studies/{uid}/feedback", right.give, READER, method="POST"),
    Route("/glass", studies.glass, GLASS, title="Break the glass"),
    Route("/glass", studies.break_glass, GLASS, method="POST"),
    Route("/audit", log.audit, AUDITOR, _QUERIED, title="Audit log"),
    Route("/audit/export.{form}", log.export, AUDITOR, _EXPORTED),
    Route("/audit/records/{number}", log.record, AUDITOR, _QUERIED),
    Route("/audit/records/{number}/proof", log.proof, AUDITOR, _EXPORTED),
    Route("/verify", log.verification, AUDITOR, title="Verify"),
    Route("/verify", log.verify, AUDITOR, method="POST"),
    Route("/verify/statement", log.statement, AUDITOR),
    Route("/quality", right.quality, FIGURES, title="Quality"),
    Route("/quality/disagreements", right.disagreements, FIGURES, _VIEWED),
    Route("/models", models.models, MODELS, title="Models"),
    Route("/models/propose", models.propose, PROPOSING, method="POST"),
    Route("/models/decide", models.decide, PROPOSING, method="POST"),
    Route("/self-test", selftests.self_tests, RUNNING | AUDITOR, title="Self-test"),
    Route("/self-test", selftests.ask, RUNNING, method="POST"),
    Route("/accounts", accounts.accounts, _ADMIN, title="Accounts"),
    Route("/accounts/change", accounts.change, _ADMIN, method="POST"),
    Route("/accounts/end", accounts.end, _ADMIN, method="POST"),
    Route("/about", glance.about, ALL, title="About"),
    Route("/password", sign_in.password_form, ALL),
    Route("/password", sign_in.change_password, ALL, method="POST"),
    Route("/sign-out", sign_in.sign_out, ALL, method="POST"),
    Route("/sign-in", sign_in.form, None),
    Route("/sign-in", sign_in.sign_in, None, method="POST"),
    Route("/sign-in/go", oidc.leave, None),
    Route(oidc.CALLBACK, oidc.come_back, None),
    Route("/language/{to}", sign_in.language, None),
)
