"""Which model sets read which image: the settings' rules, for the listener and for the worker."""

from __future__ import annotations

from dataclasses import dataclass

from hipnode.nets import set_digest
from hipnode.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Chosen:
    """What reads one image: digests, the first for the report, the others in shadow."""

    reported: str
    shadows: tuple[str, ...] = ()


class ModelSets:
    """The rules of ``worker.model_sets``, with the digest of each set.

    A digest and not a name stands on each job: the same image is read again once models have
    changed.

    Raises
    ------
    BundleRefused
        If the file of a set cannot be read or is not valid.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._default = set_digest(settings.model_set)
        self._rules = [(rule, set_digest(rule.set)) for rule in settings.model_sets]
        self.references = {self._default: settings.model_set} | {
            digest: rule.set for rule, digest in self._rules if digest != self._default
        }
        """By digest: the name or path of each set."""

    def choose(self, facts: dict[str, str]) -> Chosen:
        """Return what reads an image with these facts (`Header.facts`)."""
        matching = [(rule, digest) for rule, digest in self._rules if rule.match.matches(facts)]
        reported = next((digest for rule, digest in matching if not rule.shadow), self._default)
        shadows = dict.fromkeys(digest for rule, digest in matching if rule.shadow)
        return Chosen(reported, tuple(digest for digest in shadows if digest != reported))
