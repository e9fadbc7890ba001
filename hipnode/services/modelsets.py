"""Which model sets read which image: the settings' rules, for the listener and for the worker.

Two people may choose which of the settings' sets reports where no rule matches (`follow`). The file
stays the truth: a choice holds only while ``worker.model_set`` is what it was then, and the chosen
set is among those that it has in shadow, unchanged. Whoever edits the file ends the choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hipnode.domain.choices import Choice, ChoiceState, Who
from hipnode.errors import BundleRefused, InputRefused, SettingsInvalid, StorageUnavailable
from hipnode.nets import set_digest
from hipnode.settings import ModelSetRule, Settings, WorkerSettings

_LOOK_S: Final = 5.0
"""So long may it take until a choice is followed."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What reads one image: digests, the first for the report, the others in shadow."""

    reported: str
    shadows: tuple[str, ...] = ()


def _digest(key: str, reference: str) -> str:
    try:
        return set_digest(reference)
    except BundleRefused as error:
        raise SettingsInvalid(f"{key}: {error}") from error


class ModelSets:
    """The rules of ``worker.model_sets``, with the digest of each set.

    A digest and not a name stands on each job: the same image is read again once models have
    changed. A set in shadow that cannot be used is left out: what reads beside must not stop what
    reports.

    Parameters
    ----------
    settings
        The worker's.
    choice
        Asks for the newest choice that was confirmed; without it, the file alone counts.

    Raises
    ------
    SettingsInvalid
        If the file of a set that reports cannot be read or is not valid.
    """

    def __init__(
        self, settings: WorkerSettings, choice: Callable[[], Choice | None] | None = None
    ) -> None:
        self.broken: dict[str, str] = {}
        """Sets in shadow that are not used, each with the reason."""
        self.left_out: set[str] = set()
        """The digests of those of them whose file is as it should be."""
        self._default = _digest("worker.model_set", settings.model_set)
        self._rules: list[tuple[ModelSetRule, str]] = []
        for number, rule in enumerate(settings.model_sets):
            try:
                digest = _digest(f"worker.model_sets.{number}.set", rule.set)
            except SettingsInvalid as error:
                if not rule.shadow:
                    raise
                self.broken[rule.set] = str(error)
            else:
                self._rules.append((rule, digest))
        self.references = {self._default: settings.model_set} | {
            digest: rule.set for rule, digest in self._rules if digest != self._default
        }
        """By digest: the name or path of each set."""
        self.of_file = self._default
        """The digest of what the file names as ``worker.model_set``."""
        self.in_force: Choice | None = None
        """What two people have chosen, while that counts."""
        self.why_not = ""
        """Why what they have chosen does not count any more."""
        self._choice = choice
        self._look_s = 0.0
        self._look()

    @property
    def default(self) -> str:
        """The digest of the set that reports where no rule matches."""
        return self._default

    @property
    def candidates(self) -> dict[str, str]:
        """The sets that may be chosen, by digest: those that read in shadow."""
        shadows = {rule.set: digest for rule, digest in self._rules if rule.shadow}
        return {digest: name for name, digest in shadows.items() if digest != self.of_file}

    def _look(self) -> None:
        """Ask, now and then, what has been chosen; what is known stays while nobody answers."""
        if self._choice is not None and time.monotonic() >= self._look_s:
            self._look_s = time.monotonic() + _LOOK_S
            with suppress(StorageUnavailable):
                self.follow(self._choice())

    def follow(self, choice: Choice | None) -> None:
        """Have the chosen set report, if it may; else what the file names."""
        self.in_force, self.why_not, wanted = None, "", self.of_file
        if choice is not None and not choice.is_back:
            if choice.of_file_digest != self.of_file:
                self.why_not = "worker.model_set of the settings' file has been changed since"
            elif choice.digest not in self.candidates:
                self.why_not = "the settings have no such set in shadow any more, or it was changed"
            else:
                self.in_force, wanted = choice, choice.digest
        self._default = wanted

    def is_only_shadow(self, digest: str) -> bool:
        """Tell whether nothing is reported with a set."""
        rules = [rule for rule, known in self._rules if known == digest]
        return digest != self._default and all(rule.shadow for rule in rules)

    def leave_out(self, digest: str, why: str) -> None:
        """Use a set in shadow no more: it cannot be loaded."""
        self.broken[self.references.pop(digest)] = why
        self.left_out.add(digest)
        self._rules = [pair for pair in self._rules if pair[1] != digest]

    def choose(self, facts: dict[str, str]) -> Chosen:
        """Return what reads an image with these facts (`Header.facts`)."""
        self._look()
        matching = [(rule, digest) for rule, digest in self._rules if rule.match.matches(facts)]
        reported = next((digest for rule, digest in matching if not rule.shadow), self._default)
        shadows = dict.fromkeys(digest for rule, digest in matching if rule.shadow)
        return Chosen(reported, tuple(digest for digest in shadows if digest != reported))


def proposal(settings: Settings, wanted: str, who: Who, reason: str) -> Choice:
    """Return a proposal that a set report: one that reads in shadow, or the file's own.

    Parameters
    ----------
    settings
        The node's.
    wanted
        The set, as the settings name it.
    who, reason
        Who proposes it, and why.

    Raises
    ------
    InputRefused
        If it is neither.
    """
    known = ModelSets(settings.worker)
    digests = {name: digest for digest, name in known.candidates.items()}
    digests[settings.worker.model_set] = known.of_file
    if wanted not in digests:
        raise InputRefused("The settings have no such model set in shadow.")
    return Choice(
        id=0,
        reference=wanted,
        digest=digests[wanted],
        of_file=settings.worker.model_set,
        of_file_digest=known.of_file,
        state=ChoiceState.PROPOSED,
        proposed_by=who,
        proposed_utc=datetime.now(UTC),
        reason=reason,
    )


def check(settings: Settings, choice: Choice) -> None:
    """Refuse to confirm what is not what was proposed any more.

    Raises
    ------
    InputRefused
        If the settings' file, or the set, has been changed since.
    """
    known = ModelSets(settings.worker)
    known.follow(choice)
    if known.why_not:
        raise InputRefused(f"It cannot be confirmed: {known.why_not}.")
