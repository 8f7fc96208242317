"""YAML read as JSON: what means the same is the same, and what JSON cannot say is refused."""

import json
import time
from typing import Any

import pytest

from digiid.formats.yaml_as_json import parse_yaml_as_json
from digiid.kernel.errors import Malformed


def parse(text: str | bytes, **limits: int) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return parse_yaml_as_json(data, **{"max_depth": 10, "max_nodes": 100} | limits)


def test_a_description_reads_as_it_is_meant() -> None:
    text = """
openapi: 3.0.3
info:
  title: "Näidis"   # a comment
  version: '1'
  description: |
    two
    lines
paths:
  /a/{id}:
    get:
      responses:
        200: {description: ok}
        default:
          description: >-
            folded
            text
      deprecated: false
      x-null: ~
      x-numbers: [1, -2, 0x1F, 0o17, 1.5, 1e3, .5]
      x-texts: [yes, no, on, 2024-01-01, 1_000, 12:30:45, "1", "true", 0b1]
"""
    assert parse(text) == {
        "openapi": "3.0.3",
        "info": {"title": "Näidis", "version": "1", "description": "two\nlines\n"},
        "paths": {
            "/a/{id}": {
                "get": {
                    "responses": {"200": {"description": "ok"}, "default": {"description": "folded text"}},
                    "deprecated": False,
                    "x-null": None,
                    "x-numbers": [1, -2, 31, 15, 1.5, 1000.0, 0.5],
                    "x-texts": ["yes", "no", "on", "2024-01-01", "1_000", "12:30:45", "1", "true", "0b1"],
                }
            }
        },
    }


@pytest.mark.parametrize("value", [None, True, 1, -1.5, "x", [], {}, [1, [2, {"a": [None]}]], {"a": {"b": "\n"}}])
def test_json_is_yaml(value: Any) -> None:
    assert parse(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "a: 1\n---\nb: 2",
        "a: &x 1\nb: *x",
        "a: &x [1]",
        "a: *x",
        "a: &x {b: 1}\nc:\n  <<: *x",
        "a: !!python/object/apply:os.system [ls]",
        "a: !!binary aGk=",
        "!!set {a, b}",
        "a: !local x",
        "a: 1\na: 2",
        "? [a, b]\n: c",
        "{a: b}: c",
        "a: .nan",
        "a: -.inf",
        "a: 1e999",
        "a: [1",
        "a: b: c",
        "\tb: c",
        "a: \x07",
        b"a: \xff\xfe",
        b"\xff\xfea\x00:\x00 \x001\x00",
        "[" * 11 + "]" * 11,
        "[" * 50_000,
        "{a: " * 50_000,
        "- " * 50_000 + "a",
        "[" + "1," * 101 + "]",
        "%YAML 1.2\n--- a\n...\n%YAML 1.2\n--- b\n",
    ],
)
def test_what_json_cannot_say_and_what_is_too_much_is_refused(text: str | bytes) -> None:
    with pytest.raises(Malformed, match=r"yaml\.form"):
        parse(text)


def test_limits_are_exact() -> None:
    assert parse("[" * 10 + "]" * 10)
    assert len(parse("[" + "1," * 99 + "]")) == 99


@pytest.mark.parametrize("line_break", ["\n", "\r", "\x85", "\u2028"])
@pytest.mark.parametrize("before", ["", "a\n...\n"], ids=["at the start", "behind a document"])
def test_directives_that_nothing_can_use_take_no_time(line_break: str, before: str) -> None:
    directives = "".join(f"%TAG !{number:x}! x{line_break}" for number in range(30_000))
    started = time.process_time()
    with pytest.raises(Malformed, match="directives"):
        parse(f"{before}{directives}--- a\n")
    assert time.process_time() - started < 0.5  # quadratic it was 2, and 50 in all that is read of a description


def test_a_few_directives_and_a_text_about_them_are_read() -> None:
    text = "about" + " %TAG" * 1000
    assert parse(f"%YAML 1.2\n%TAG !e! tag:example.org,2000:\n---\na: {text}\n") == {"a": text}
