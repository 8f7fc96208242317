"""How a signing certificate names its member: the rule that the global configuration names for its CA.

The rules are X-Road's, by the last part of their Java names. A CA with another rule signs for nobody here.
"""

from collections.abc import Callable
from typing import Final

from digiid.formats.x509.parts import CertificateParts
from digiid.formats.x509.profile import (
    BUSINESS_CATEGORY,
    COMMON_NAME,
    COUNTRY,
    ORGANIZATION,
    ORGANIZATION_IDENTIFIER,
    SERIAL_NUMBER,
)
from digiid.kernel.errors import Malformed, Refused
from digiid.kernel.identifiers import MemberId, check_existing_part

_REGISTERS: Final = {"NTREE-": "COM", "GO:EE-": "GOV", "NP:EE-": "NGO"}  # prefixes of organizationIdentifier
_CLASS_OF_DIGIT: Final = dict.fromkeys("123456", "COM") | {"7": "GOV", "8": "NGO", "9": "NGO"}
_CODE_DIGITS: Final = 8


def read_member(subject: CertificateParts, *, profile: str, instance: str) -> MemberId:
    """The member whose signing certificate this is, by the rule `profile` of the CA that issued it.

    Raises: Refused `exchange.trust.profile`, the rule is not known; `exchange.trust.member`, the name does not fit it.
    """
    rule = _RULES.get(profile.rsplit(".", 1)[-1])
    if rule is None:
        raise Refused("exchange.trust.profile", f"no rule {profile[:120]!r} to read a member from a certificate")
    try:
        member = rule(subject, instance)
        for part in (member.instance, member.member_class, member.member_code):
            check_existing_part(part)
    except Malformed as error:
        raise Refused("exchange.trust.member", f"the certificate names no member: {error.detail}") from error
    return member


def _value(subject: CertificateParts, attribute: str) -> str:
    value = subject.subject_value(attribute)
    if not value:
        raise Malformed("x509.name", f"there is no {attribute}")
    return value


def _basic(subject: CertificateParts, instance: str) -> MemberId:
    return MemberId(instance, _value(subject, BUSINESS_CATEGORY), _value(subject, SERIAL_NUMBER))


def _ejbca(subject: CertificateParts, _: str) -> MemberId:
    return MemberId(_value(subject, COUNTRY), _value(subject, ORGANIZATION), _value(subject, COMMON_NAME))


def _fi_vrk(subject: CertificateParts, _: str) -> MemberId:
    # serialNumber is instance/serverCode/memberClass; the server is of no matter for who signed.
    if _value(subject, COUNTRY) != "FI":
        raise Malformed("x509.name", "the country is not FI")
    _value(subject, ORGANIZATION)
    parts = _value(subject, SERIAL_NUMBER).split("/")
    if len(parts) != 3:
        raise Malformed("x509.name", "the serial number is not instance/server/class")
    return MemberId(parts[0], parts[2], _value(subject, COMMON_NAME))


def _sk_klass3(subject: CertificateParts, instance: str) -> MemberId:
    identifier = subject.subject_value(ORGANIZATION_IDENTIFIER)
    if not identifier:  # certificates of before there was such an attribute: the register code's first digit tells
        code = _value(subject, SERIAL_NUMBER)
        member_class = _CLASS_OF_DIGIT.get(code[0])
        if member_class is None or len(code) != _CODE_DIGITS or not (code.isascii() and code.isdigit()):
            raise Malformed("x509.name", "the serial number is not an Estonian register code")
        return MemberId(instance, member_class, code)
    for prefix, member_class in _REGISTERS.items():
        if identifier.startswith(prefix):
            return MemberId(instance, member_class, identifier.removeprefix(prefix))
    return MemberId(instance, "NEE", identifier)  # not in an Estonian register: the whole identifier is the code


_RULES: Final[dict[str, Callable[[CertificateParts, str], MemberId]]] = {
    "BasicCertificateProfileInfoProvider": _basic,
    "BasicAcmeCertificateProfileInfoProvider": _basic,
    "EjbcaCertificateProfileInfoProvider": _ejbca,
    "FiVRKCertificateProfileInfoProvider": _fi_vrk,
    "SkKlass3CertificateProfileInfoProvider": _sk_klass3,
}
