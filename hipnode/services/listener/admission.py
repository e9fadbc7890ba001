"""Who may open an association: a total function that answers with PS3.8's own reasons.

References
----------
PS3.8 9.3.4, A-ASSOCIATE-RJ PDU: result, source, reason.
PS3.8 7.1.1.2, Application Context Name; PS3.7 A.2.1, its one registered value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import ceil
from typing import Final

from hipnode.errors import SettingsInvalid
from hipnode.settings import ListenerSettings

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
_ROUNDING: Final = 1e-9


class Rejection(Enum):
    """(result, source, reason) of PS3.8 Table 9-21; result 1 is permanent, 2 is transient."""

    APPLICATION_CONTEXT_NOT_SUPPORTED = (1, 1, 2)
    CALLING_AE_TITLE_NOT_RECOGNISED = (1, 1, 3)
    CALLED_AE_TITLE_NOT_RECOGNISED = (1, 1, 7)
    PROTOCOL_VERSION_NOT_SUPPORTED = (1, 2, 2)
    TEMPORARY_CONGESTION = (2, 3, 1)
    LOCAL_LIMIT_EXCEEDED = (2, 3, 2)


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a peer that asks for an association."""

    calling_ae: str
    called_ae: str
    address: str
    application_context: str = APPLICATION_CONTEXT


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the peer is answered, and the closer reason that only our audit log gets."""

    rejection: Rejection
    detail: str


@dataclass(frozen=True, slots=True)
class _Caller:
    ae_title: str
    networks: tuple[IPv4Network | IPv6Network, ...]  # empty: any address


class Admission:
    """The settings' rules about peers, ready to be asked.

    Parameters
    ----------
    settings
        The listener's settings.
    ae_title
        This node's own AE title.

    Raises
    ------
    SettingsInvalid
        If a caller's address is neither an IP address nor a network.
    """

    def __init__(self, settings: ListenerSettings, ae_title: str) -> None:
        self._ae_title = ae_title
        self._any_called = settings.accept_any_called_ae
        self._any_caller = settings.accept_any_caller
        self._limit = settings.max_associations
        self._of_caller = ceil(self._limit * settings.max_associations_share - _ROUNDING)
        self._of_address = of_address(self._limit, settings)
        self._callers = tuple(
            _Caller(caller.ae_title, tuple(_network(text) for text in caller.addresses))
            for caller in settings.callers
        )

    def decide(
        self,
        request: Request,
        active: int,
        *,
        of_caller: int = 0,
        of_address: int = 0,
        stopping: bool = False,
    ) -> Refusal | None:
        """Return why the association is refused, or None where it is accepted.

        Parameters
        ----------
        request
            The peer's request.
        active
            How many associations are established now, this one not counted.
        of_caller, of_address
            How many of them are of the same calling AE title, and from the same address.
        stopping
            Whether the node is about to stop.

        References
        ----------
        PS3.8 9.3.4. An address that is not allowed has no reason of its own there: the peer is
        told that its AE title is not recognised, and learns nothing about the rules.
        """
        if request.application_context != APPLICATION_CONTEXT:
            return Refusal(Rejection.APPLICATION_CONTEXT_NOT_SUPPORTED, "application_context")
        if not self._any_called and request.called_ae != self._ae_title:
            return Refusal(Rejection.CALLED_AE_TITLE_NOT_RECOGNISED, "called_ae_title")
        if not self._any_caller and (detail := self._unknown(request)):
            return Refusal(Rejection.CALLING_AE_TITLE_NOT_RECOGNISED, detail)
        if stopping:
            return Refusal(Rejection.TEMPORARY_CONGESTION, "stopping")
        if active >= self._limit:
            return Refusal(Rejection.LOCAL_LIMIT_EXCEEDED, "too_many_associations")
        if of_caller >= self._of_caller:
            return Refusal(Rejection.LOCAL_LIMIT_EXCEEDED, "too_many_associations_of_caller")
        if of_address >= self._of_address:
            return Refusal(Rejection.LOCAL_LIMIT_EXCEEDED, "too_many_associations_of_address")
        return None

    def knows_address(self, address: str) -> bool:
        """Tell whether any caller may come from ``address``."""
        return self._any_caller or any(_allows(caller, address) for caller in self._callers)

    def _unknown(self, request: Request) -> str:
        known = [caller for caller in self._callers if caller.ae_title == request.calling_ae]
        if not known:
            return "calling_ae_title"
        return "" if any(_allows(caller, request.address) for caller in known) else "address"


def of_address(limit: int, settings: ListenerSettings) -> int:
    """Return how many of ``limit`` one address may have.

    A caller's share and half of the rest: several callers may be behind it.
    """
    return ceil(limit * (1 + settings.max_associations_share) / 2 - _ROUNDING)


def _allows(caller: _Caller, text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return not caller.networks or any(address in network for network in caller.networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise SettingsInvalid(
            f"listener.callers: {text!r} is neither an IP address nor a network"
        ) from None
