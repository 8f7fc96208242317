"""Numbers with their nouns, for what commands print."""


def counted(number: int, one: str, many: str = "") -> str:
    """`1 file`, `2,000 files`; `many` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
