"""ChaCha20-Poly1305 in parts: the RFC's vector, the library's own AEAD, and every byte that could be changed."""

import io
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from digiid.formats.cdoc2 import TAG_BYTES, decrypt_payload, encrypt_payload, verify_payload
from digiid.kernel.errors import Malformed, Refused

KEY = bytes(range(0x80, 0xA0))
NONCE = bytes.fromhex("070000004041424344454647")
AAD = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")


def quiet(_: int) -> None:
    """Nobody watches."""


def opened(encrypted: bytes) -> bytes:
    span = range(0, len(encrypted) - TAG_BYTES)
    file = io.BytesIO(encrypted)
    verify_payload(file, KEY, NONCE, aad=AAD, span=span, progress=quiet)
    return b"".join(decrypt_payload(file, KEY, NONCE, aad=AAD, span=span, progress=quiet))


def test_vector_of_rfc_8439_section_2_8_2() -> None:
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    encrypted = b"".join(encrypt_payload([plaintext], KEY, NONCE, aad=AAD))
    assert encrypted.hex() == (
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"
    )
    assert opened(encrypted) == plaintext


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_parts_give_what_the_library_gives_for_the_whole(chunks: list[bytes]) -> None:
    encrypted = b"".join(encrypt_payload(chunks, KEY, NONCE, aad=AAD))
    assert encrypted == ChaCha20Poly1305(KEY).encrypt(NONCE, b"".join(chunks), AAD)
    assert opened(encrypted) == b"".join(chunks)


def test_every_changed_bit_of_ciphertext_and_tag_is_refused_before_anything_is_decrypted() -> None:
    encrypted = b"".join(encrypt_payload([b"a secret"], KEY, NONCE, aad=AAD))
    for at in range(8 * len(encrypted)):
        changed = bytearray(encrypted)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(Refused, match=r"cdoc2\.payload\.changed"):
            opened(bytes(changed))
    for other in (AAD + b"\0", AAD[:-1], b""):
        with pytest.raises(Refused):
            verify_payload(io.BytesIO(encrypted), KEY, NONCE, aad=other, span=range(0, 8), progress=quiet)


def test_a_file_that_changes_between_the_two_passes_is_noticed_at_the_end() -> None:
    encrypted = bytearray(b"".join(encrypt_payload([b"a secret"], KEY, NONCE, aad=AAD)))
    span = range(0, 8)
    verify_payload(io.BytesIO(encrypted), KEY, NONCE, aad=AAD, span=span, progress=quiet)
    encrypted[0] ^= 1
    parts: Iterator[bytes] = decrypt_payload(io.BytesIO(encrypted), KEY, NONCE, aad=AAD, span=span, progress=quiet)
    with pytest.raises(Refused, match=r"cdoc2\.payload\.changed"):
        list(parts)
    cut = io.BytesIO(encrypted[:4])
    with pytest.raises(Malformed, match=r"cdoc2\.envelope\.cut"):
        list(decrypt_payload(cut, KEY, NONCE, aad=AAD, span=span, progress=quiet))
