"""Which model sets read which image: the settings' rules, for the listener and for the worker."""

from __future__ import annotations

from dataclasses import dataclass

from hipnode.errors import BundleRefused, SettingsInvalid
from hipnode.nets import set_digest
from hipnode.settings import ModelSetRule, WorkerSettings


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

    Raises
    ------
    SettingsInvalid
        If the file of a set that reports cannot be read or is not valid.
    """

    def __init__(self, settings: WorkerSettings) -> None:
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
        matching = [(rule, digest) for rule, digest in self._rules if rule.match.matches(facts)]
        reported = next((digest for rule, digest in matching if not rule.shadow), self._default)
        shadows = dict.fromkeys(digest for rule, digest in matching if rule.shadow)
        return Chosen(reported, tuple(digest for digest in shadows if digest != reported))
