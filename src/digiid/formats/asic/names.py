"""Names of files that show a person something else than what they are (Unicode UTS #39, the part that matters here).

Nothing is refused for it: the names are told of, beside the verdict.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

_WORD = re.compile(r"[^\W\d_]+")
# Letters that look like a Latin one in most typefaces (UTS #39 confusables.txt: Cyrillic and Greek small letters).
_LOOKS = str.maketrans(
    "асеорхуіјѕԁԛԝһӏкмтвн" + "αοριυνκτγ",
    "aceopxyijsdqwhlkmtbh" + "aopiuvktY",
)


def find_odd_names(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(code, sentence) for each oddity: invisible or reordering characters, a word in two scripts, names that look
    alike.
    """
    seen: dict[str, str] = {}
    for name in names:
        if name.isascii():
            look = name.lower()
        else:
            if any(unicodedata.category(char) in ("Cf", "Zl", "Zp", "Co", "Cn") for char in name):
                yield "asic.name.hidden", f"{name!a}: the name has characters that do not show or change the order"
            for word in _WORD.findall(name):
                scripts = {_script(char) for char in word}
                if len(scripts) > 1:
                    told = " and ".join(sorted(script.title() for script in scripts))
                    yield "asic.name.mixed_scripts", f"{name!a}: a word of the name mixes {told} letters"
                    break
            look = unicodedata.normalize("NFKC", name).casefold().translate(_LOOKS)
            look = "".join(char for char in look if unicodedata.category(char) != "Cf")
        if look in seen:
            yield "asic.name.alike", f"{name!a} looks like {seen[look]!a}, which is another file"
        seen[look] = name


def _script(letter: str) -> str:
    """LATIN, CYRILLIC, GREEK … : the first word of the letter's name; kana and Han are written together."""
    script = unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
    return "CJK" if script in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else script
