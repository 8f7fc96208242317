"""Damages valid encodings the way a hostile or broken sender would."""

from collections.abc import Callable

from hypothesis import strategies as st

from digiid.kernel.errors import DigiidError


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """`valid` with bytes changed, cut out, doubled or cut off."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "drop", "double"]))
        if not data:
            break
        if kind == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            data[at] = draw(st.sampled_from([0x00, 0x01, 0x02, 0x05, 0x30, 0x31, 0x7F, 0x80, 0x82, 0xA0, 0xA1, 0xFF]))
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + draw(st.integers(1, 8))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 16))]
    return bytes(data)


def only_raises(kinds: type[DigiidError] | tuple[type[DigiidError], ...], call: Callable[[], object]) -> None:
    """Run `call`; anything it raises other than `kinds` fails the test."""
    try:
        call()
    except kinds:
        pass
