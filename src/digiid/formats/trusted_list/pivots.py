"""A list of lists whose signers have changed since they were pinned: the way from one set of signers to the next
through pivot lists (TS 119 615 V1.2.1 §4.1).

A pivot is an earlier instance of the list of lists that announces, in its pointer to itself, who signs the next ones.
The scheme's information names them, newest first. Nothing here is believed before the signers known so far have signed
it.
"""

from collections.abc import Sequence
from typing import Final

from cryptography import x509

from digiid.formats.trusted_list.model import TYPE_LIST_OF_LISTS, TrustedList, VerifiedTrustedList
from digiid.formats.trusted_list.verify import verify_trusted_list
from digiid.formats.x509.parts import load_certificate
from digiid.kernel.errors import Malformed, Refused

MAX_PIVOTS: Final = 16


def pivot_locations(unverified: TrustedList) -> tuple[str, ...]:
    """Where the pivots are that an unverified list of lists names, oldest first. They are only addresses.

    Raises: Malformed `trusted_list.pivots`, more than 16, or one twice.
    """
    if unverified.list_type != TYPE_LIST_OF_LISTS:
        return ()
    found = [uri for uri in unverified.information_uris if uri.lower().endswith(".xml")]
    if len(found) > MAX_PIVOTS or len(set(found)) < len(found):
        raise Malformed("trusted_list.pivots", f"more than {MAX_PIVOTS} pivot lists, or one twice")
    return tuple(reversed(found))


def follow_pivots(pivots: Sequence[bytes], *, signers: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Who signs the list of lists now, beginning with the pinned `signers`. `pivots` come oldest first.

    Pivots from before the pinned signers are passed over; from the first that they signed on every one has to be signed
    by those whom the one before announced, each with a higher sequence number. Pivots may have run out: what they
    announce stays announced.

    Raises:
        Malformed: `trusted_list.…`.
        Refused: `trusted_list.signer`, a stranger signed one; `trusted_list.pivot`, it is no pivot, announces nobody,
            or is older than the one before; what `verify_trusted_list` refuses.
    """
    trusted = tuple(signers)
    last: VerifiedTrustedList | None = None
    for document in pivots:
        try:
            pivot = verify_trusted_list(document, signers=trusted)
        except Refused as error:
            if error.code == "trusted_list.signer" and last is None:
                continue  # from before our time
            raise
        _check_after(pivot.content, last)
        trusted, last = _announced(pivot.content), pivot
    return trusted


def _check_after(content: TrustedList, last: VerifiedTrustedList | None) -> None:
    if content.list_type != TYPE_LIST_OF_LISTS:
        raise Refused("trusted_list.pivot", "a pivot that is no list of lists")
    if last is None:
        return
    if content.territory != last.content.territory or content.sequence_number <= last.content.sequence_number:
        raise Refused("trusted_list.pivot", "a pivot of another scheme, or older than the one before it")


def _announced(content: TrustedList) -> tuple[x509.Certificate, ...]:
    own = [
        pointer
        for pointer in content.pointers
        if pointer.list_type == TYPE_LIST_OF_LISTS and pointer.territory == content.territory
    ]
    certificates = tuple(load_certificate(der) for pointer in own for der in pointer.signers_der)
    if not certificates:
        raise Refused("trusted_list.pivot", "a pivot that does not say who signs the next list of lists")
    return certificates
