"""What the bank asks others: the population register for an address, the consent service for the consent to it."""

from digiid.contracts import population_register
from digiid.contracts.consents import ConsentGroup
from digiid.exchange.client import Client
from digiid.exchange.consent_client import ConsentClient, HeldReceipt


def fetch_address(
    exchange: Client, personal_code: str, *, receipt: str | None, purpose: str
) -> population_register.Address:
    """The customer's registered address. Raises: Refused `exchange.consent.…` as the register judges the receipt."""
    return exchange.call(
        population_register.GET_ADDRESS,
        population_register.GetAddress(personal_code=personal_code),
        user_id=f"EE{personal_code}",
        consent=receipt,
        purpose=purpose,
    )


def find_receipt(exchange: Client, personal_code: str, *, purpose: str) -> HeldReceipt | None:
    """The receipt of a consent that holds."""
    return ConsentClient(exchange).find_receipt(personal_code, purpose)


def ask_for_consent(exchange: Client, personal_code: str, *, purpose: str, callback: str) -> ConsentGroup:
    """Where to lead the person. Raises: Conflict `consent.all_approved` when there is a consent already."""
    return ConsentClient(exchange).request(personal_code, [purpose], callback=callback)
