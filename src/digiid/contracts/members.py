"""The members of the exchange in the demonstration state. Codes are invented and say so by their range."""

from digiid.kernel.identifiers import ClientId

INSTANCE = "EE"

POLICE_BOARD = ClientId(INSTANCE, "GOV", "70000101", "police")
CARD_BUREAU = ClientId(INSTANCE, "GOV", "70000102", "bureau")
POPULATION_REGISTER = ClientId(INSTANCE, "GOV", "70000103", "population")
TRUST_SERVICES = ClientId(INSTANCE, "GOV", "70000104", "trust")
INFORMATION_AUTHORITY = ClientId(INSTANCE, "GOV", "70000105", "portal")
CONSENT_SERVICE = ClientId(INSTANCE, "GOV", "70000105", "consents")  # of the Information Authority, as the portal
BUSINESS_REGISTER = ClientId(INSTANCE, "GOV", "70000106", "business")
BANK = ClientId(INSTANCE, "COM", "10000201", "bank")

NAMES = {
    POLICE_BOARD: "Police and Border Guard Board",
    CARD_BUREAU: "Card Bureau",
    POPULATION_REGISTER: "Population Register",
    TRUST_SERVICES: "Trust Services",
    INFORMATION_AUTHORITY: "Information Authority",
    CONSENT_SERVICE: "Consent Service",
    BUSINESS_REGISTER: "Business Register",
    BANK: "Test Bank",
}
