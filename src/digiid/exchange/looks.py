"""From a caller and a contract to the look that a provider writes down."""

from typing import Any

from digiid.contracts.operation import CONSENT, Operation
from digiid.exchange.gate import Caller
from digiid.kernel.errors import Broken, Refused
from digiid.platform.disclosures import Look


def look_of(
    caller: Caller,
    operation: Operation[Any, Any],
    *,
    consent_reference: str | None = None,
    purpose: str | None = None,
) -> Look:
    """Who asks, why and by what right. `purpose` stands in where the caller's own message already carries one. The look
    is kept back for a time when the caller ordered that and the gate accepted it.

    Raises: Refused `exchange.no_purpose` when the caller does not say why; `exchange.consent_needed` when this caller
    is answered with consent only and none was verified; Broken `exchange.no_basis` when the contract names no right.
    """
    why = (purpose or caller.purpose or "").strip()
    if not why:
        raise Refused(
            "exchange.no_purpose", str(operation.service), public="Say why this is asked: no purpose is given."
        )
    basis = operation.basis_of(caller.client)
    if basis is None:
        raise Broken("exchange.no_basis", f"{operation.service} names no right of {caller.client}")
    if basis == CONSENT and consent_reference is None:
        raise Refused("exchange.consent_needed", str(operation.service), public="This needs the consent of the person.")
    return Look(
        receiver=str(caller.client),
        purpose=why,
        legal_basis=basis,
        service=operation.service.service_code,
        receiver_user=caller.user_id,
        consent_reference=consent_reference,
        message_id=caller.message_id,
        delay=caller.delay,
    )
