"""Members and subsystems as the namespace of identifiers writes them."""

from lxml import etree

from digiid.formats.global_conf.elements import NS_IDENTIFIERS, OBJECT_TYPE, element, text
from digiid.kernel.errors import Malformed
from digiid.kernel.identifiers import ClientId, MemberId, Party, check_existing_part

_PARTS = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
_TYPES = {"MEMBER": 3, "SUBSYSTEM": 4}


def parse_party_element(found: etree._Element) -> Party:
    """A member or a subsystem. Raises: Malformed `exchange.global_conf.…`, `exchange.identifier`."""
    count = _TYPES.get(found.get(OBJECT_TYPE, ""))
    if count is None:
        raise Malformed("exchange.global_conf.identifier", "neither a member nor a subsystem")
    parts = [check_existing_part(text(found, f"{{{NS_IDENTIFIERS}}}{name}")) for name in _PARTS[:count]]
    return MemberId(*parts) if count == 3 else ClientId(*parts)


def build_party_element(name: str, party: Party) -> str:
    """`<name ns2:objectType="…">…</name>`."""
    parts = [party.instance, party.member_class, party.member_code]
    kind = "MEMBER"
    if isinstance(party, ClientId):
        parts, kind = [*parts, party.subsystem], "SUBSYSTEM"
    inside = "".join(element(f"ns2:{tag}", part) for tag, part in zip(_PARTS, parts, strict=False))
    return f'<{name} ns2:objectType="{kind}">{inside}</{name}>'
