"""What the consent service asks the registers: may this person act for another?"""

from digiid.contracts import business_register, population_register
from digiid.exchange.client import Client
from digiid.kernel.errors import Refused

PURPOSE = "To check who may consent for somebody else"


def check_acts_for_minor(exchange: Client, representative_code: str, minor_code: str) -> None:
    """Raises: Refused `consent.no_representation`."""
    request = population_register.RepresentsMinor(representative_code=representative_code, minor_code=minor_code)
    answer = exchange.call(
        population_register.REPRESENTS_MINOR, request, user_id=f"EE{representative_code}", purpose=PURPOSE
    )
    if not answer.represents:
        raise Refused(
            "consent.no_representation",
            answer.reason,
            public="The Population Register does not name you as a parent with custody of this minor.",
        )


def check_acts_for_company(exchange: Client, representative_code: str, registry_code: str) -> None:
    """Alone, that is: who may act only together with another cannot consent here. Raises: Refused as above."""
    request = business_register.RightOfRepresentation(personal_code=representative_code, registry_code=registry_code)
    answer = exchange.call(
        business_register.RIGHT_OF_REPRESENTATION, request, user_id=f"EE{representative_code}", purpose=PURPOSE
    )
    if answer.representation == "joint":
        raise Refused(
            "consent.no_representation",
            answer.reason,
            public="You may act for this company only together with others, which cannot be done here yet.",
        )
    if answer.representation != "sole":
        raise Refused(
            "consent.no_representation",
            answer.reason,
            public="The Business Register does not name you as somebody who may act for this company.",
        )
