"""YAML as far as it says what JSON can say: one document by the core schema (YAML 1.2 §10.3).

Read event by event, so that depth and size are bounded before anything is built. Not supported, and refused: anchors,
aliases and merges (the bombs of YAML), tags of other kinds, several documents, keys that are no scalars or stand twice,
numbers that JSON does not know. A key is text as it is written: `200:` is "200".
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from digiid.kernel.errors import Malformed

_STR: Final = "tag:yaml.org,2002:str"
_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE: Final = frozenset(("true", "True", "TRUE"))
_FALSE: Final = frozenset(("false", "False", "FALSE"))
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,300}")
_OCTAL: Final = re.compile(r"0o[0-7]{1,300}")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]{1,300}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]{1,300}|[0-9]{1,300}(\.[0-9]{0,300})?)([eE][-+]?[0-9]{1,3})?")
_NOT_JSON: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# Directives name prefixes for tags, which are refused. libyaml compares each with all before it, and holds the
# interpreter meanwhile: as many as a description holds would stop the program for a minute.
_TAG_DIRECTIVE: Final = re.compile("[\r\n\x85\u2028\u2029]%TAG")
_MAX_TAG_DIRECTIVES: Final = 100


@dataclass(slots=True)
class _Open:
    """A collection that is being read; `key` is the text of a mapping's key that waits for its value."""

    value: dict[str, Any] | list[Any]
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    max_depth: int
    max_nodes: int
    open: list[_Open] = field(default_factory=list)
    nodes: int = 0
    result: Any = None
    documents: int = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise _malformed("more than one document")
            case yaml.AliasEvent():
                raise _malformed("an alias")
            case yaml.ScalarEvent():
                self._check(event)
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._check(event)
                value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
                self._put(value)
                self.open.append(_Open(value))
                if len(self.open) > self.max_depth:
                    raise _malformed("nested too deep")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.open.pop()

    def _check(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > self.max_nodes:
            raise _malformed("too many values")
        if event.anchor is not None:
            raise _malformed("an anchor")
        if event.tag not in (None, "!", _STR):
            raise _malformed("a tag")

    def _scalar(self, event: Any) -> None:
        if self.open and isinstance(self.open[-1].value, dict) and self.open[-1].key is None:
            if event.value in self.open[-1].value:
                raise _malformed("a key stands twice")
            self.open[-1].key = event.value
            return
        is_plain = event.style in (None, "") and event.tag is None
        self._put(_resolve(event.value) if is_plain else event.value)

    def _put(self, value: Any) -> None:
        if not self.open:
            self.result = value
            return
        holder = self.open[-1]
        if isinstance(holder.value, list):
            holder.value.append(value)
        elif holder.key is None:
            raise _malformed("a key that is no scalar")
        else:
            holder.value[holder.key] = value
            holder.key = None


def parse_yaml_as_json(data: bytes, *, max_depth: int, max_nodes: int) -> Any:
    """The value of a YAML document, as `json.loads` would give it. Raises: Malformed `yaml.form`."""
    builder = _Builder(max_depth, max_nodes)
    try:
        text = data.decode("utf-8")
        if len(_TAG_DIRECTIVE.findall(text)) > _MAX_TAG_DIRECTIVES:
            raise _malformed("too many directives")
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise Malformed("yaml.form", f"not YAML: {type(error).__name__}") from error
    if builder.documents != 1:
        raise _malformed("no document")
    return builder.result


def _resolve(text: str) -> str | int | float | bool | None:
    """A plain scalar by the core schema (§10.3.2)."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return int(text, 0)
    if _NOT_JSON.fullmatch(text):
        raise _malformed("a number that JSON does not know")
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise _malformed("a number that JSON does not know")
        return value
    return text


def _malformed(why: str) -> Malformed:
    return Malformed("yaml.form", why)
