"""What the operator of a state may open to a client that no contract names: service by service, endpoint by endpoint.

The institutions decide that, here; an operator decides only who is given such a right.
"""

from collections.abc import Mapping
from typing import Any, Final

from digiid.contracts import business_register, card_bureau, consents, police_board, population_register, trust_services
from digiid.contracts.operation import Operation
from digiid.kernel.identifiers import ServiceId

CONTRACTS: Final = (population_register, business_register, police_board, card_bureau, trust_services)
OWN_CONSENTS: Final = "tells of the asker's own consents only"
Endpoint = tuple[str, str]
"""A method, and a path below the service code."""


def list_openings() -> Mapping[ServiceId, Mapping[Endpoint, str]]:
    """By service and endpoint, by what right a client with a right of the operator's is answered there: a law, CONSENT,
    NO_PERSONS or OWN_CONSENTS. What is not in it stays closed."""
    found: dict[ServiceId, dict[Endpoint, str]] = {}
    for module in CONTRACTS:
        for operation in vars(module).values():
            if isinstance(operation, Operation) and operation.for_others is not None:
                found[operation.service] = {_endpoint_of(operation): operation.for_others}
    found[consents.CONSENT] = {each: OWN_CONSENTS for each in consents.ENDPOINTS if each in consents.FOR_OTHERS}
    return found


def _endpoint_of(operation: Operation[Any, Any]) -> Endpoint:
    return "POST", operation.path.removeprefix(operation.service.path)
