"""An operation: one service on the exchange with its request, its reply and who may call it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from digiid.kernel.identifiers import ClientId, ServiceId

CONSENT: Final = "consent of the person"
"""Stands in the place of a law: this client is answered with a consent receipt only."""
NO_PERSONS: Final = "tells nothing about persons"
"""Stands in the place of a law where none is needed: the service discloses nothing."""


class Message(BaseModel):
    """The base of every request and reply: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=200_000)


class Done(Message):
    """A reply that says only that the thing is so now (also when it already was)."""


Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True, slots=True)
class Operation(Generic[Request, Reply]):
    """`POST {service.path}/v{version}` with a JSON body. Only the subsystems in `allowed` may call.

    Every operation may be repeated with the same content and gives the same outcome: requests carry
    the identifier of what they are about, and the provider recognises it.

    `discloses` names the categories of data about persons that the reply gives away; empty: none. Both parties
    then write the look down, about the same persons: `about` says where their personal codes stand, as paths
    (`request.personal_code`, `reply.matches.personal_code`). Empty beside `discloses`: the messages name the person
    only by another identifier, and the asker says about whom it asks. `legal_bases` says by what right each client is
    answered: a law, or CONSENT. `may_delay` are the clients whose look the law lets be kept back from the person for a
    time (Personal Data Protection Act § 24 (2)): they may order that with the request; everybody else is refused.

    `for_others` says by what right a client is answered that `allowed` does not name, once the operator of the state
    has given it an access right: a law, CONSENT, or NO_PERSONS where nothing is disclosed. None: nobody else is ever
    answered, whatever an operator does.
    """

    service: ServiceId
    request: type[Request]
    reply: type[Reply]
    allowed: frozenset[ClientId]
    version: int = 1
    discloses: tuple[str, ...] = ()
    about: tuple[str, ...] = ("request.personal_code",)
    legal_bases: Mapping[ClientId, str] = field(default_factory=dict, compare=False)
    may_delay: frozenset[ClientId] = frozenset()
    for_others: str | None = None

    def basis_of(self, client: ClientId) -> str | None:
        """By what right this client is answered: its own, or that of others; None when the contract has neither."""
        return self.legal_bases.get(client) if client in self.allowed else self.for_others

    def needs_consent(self, client: ClientId) -> bool:
        """Whether this client has to bring the person's consent."""
        return self.basis_of(client) == CONSENT

    @property
    def path(self) -> str:
        return f"{self.service.path}/v{self.version}"

    def persons(self, *, request: Request, reply: Reply | None = None) -> tuple[str, ...]:
        """The personal codes that `about` points to, each once, in order; without a reply, those of the request."""
        found: dict[str, None] = {}
        for path in self.about:
            side, *names = path.split(".")
            message: object = request if side == "request" else reply
            for value in _values(message, names):
                found[value] = None
        return tuple(found)


def _values(value: object, names: list[str]) -> list[str]:
    if value is None:
        return []
    if isinstance(value, tuple):
        return [found for item in value for found in _values(item, names)]
    if not names:
        return [str(value)]
    return _values(getattr(value, names[0]), names[1:])
