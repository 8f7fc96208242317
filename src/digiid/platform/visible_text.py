"""Writing that strangers chose (file names, contents), made safe to look at."""


def make_visible(text: str, *, keep: str = "") -> str:
    """The text with every character that hides, turns writing around or moves the cursor written as `[U+202E]`.

    Characters of `keep` stay: a line break in a text of several lines.
    """
    return "".join(char if char.isprintable() or char in keep else f"[U+{ord(char):04X}]" for char in text)
