"""An operation: one service on the exchange with its request, its reply and who may call it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from digiid.kernel.identifiers import ClientId, ServiceId


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
    """

    service: ServiceId
    request: type[Request]
    reply: type[Reply]
    allowed: frozenset[ClientId]
    version: int = 1

    @property
    def path(self) -> str:
        return f"{self.service.path}/v{self.version}"
