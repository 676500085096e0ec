"""What a connector's file is read as: YAML 1.2, nothing guessed, everything with its place."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from crm_backends.connector import shipped, source
from crm_backends.connector.problems import ConnectorError
from crm_backends.connector.source import SourceFile, read


def problem(text: str) -> str:
    with pytest.raises(ConnectorError) as caught:
        read(text, "crm.yaml")
    (one,) = caught.value.problems
    return str(one)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "0123",
        "1_000",
        "1:20",
        "+79161234567",
        "0x1F",
        "0o17",
        ".5",
        "1e3",
        "2026-11-26",
        "=",
        "<<",
        "1.",
        "NULL",
        "True",
        "-0x1",
        ".inf",
        ".nan",
        "123456789012345678901",
    ],
)
def test_what_is_no_json_is_text(text: str) -> None:
    assert read(f"value: {text}", "crm.yaml").values == {"value": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-12", -12),
        ("79161234567", 79161234567),
        ("12.50", Decimal("12.50")),
        ("-0.1", Decimal("-0.1")),
    ],
)
def test_what_is_json_is_that(text: str, value: object) -> None:
    read_value = read(f"value: {text}", "crm.yaml").values["value"]
    assert (read_value, type(read_value)) == (value, type(value))


@pytest.mark.parametrize("text", ['"true"', "'12'", "|\n  12", ">\n  null"])
def test_quotes_and_blocks_are_text(text: str) -> None:
    assert isinstance(read(f"value: {text}", "crm.yaml").values["value"], str)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: &x 2", "crm.yaml:2:4: anchors and aliases are not read here; write the value out"),
        ("a: &x [1]\nb: *x", "crm.yaml:1:4: anchors and aliases are not read here; write the value out"),
        ("a: !!python/object:os.system x", "crm.yaml:1:4: tags are not read here"),
        ("a: 1\nc:\n  d: 1\n  d: 2", 'crm.yaml:4:3: "d" is here for the second time'),
        ("a: 1\n---\nb: 2", "crm.yaml:2:1: a second document begins here; keep one in a file"),
        ("", "crm.yaml:1:1: the file is empty"),
        ("a: [1, 2", "crm.yaml:1:4: the [ that begins here is not closed"),
        ('a: "b\nc: d\n', "crm.yaml:1:4: the text in quotes that begins here has no end; close it"),
        ("t: it's\na: 'b\nc: d\n", "crm.yaml:2:4: the text in quotes that begins here has no end"),
        ('a: "b\n---\nc: d', "crm.yaml:1:4: the text in quotes that begins here has no end"),
        (
            'a: "b\nc: {d: "x"}',
            "crm.yaml:1:4: the text in quotes that begins here ends in line 2 only; close it",
        ),
        ('a: {b: "c}\nd: "e"', "crm.yaml:1:8: the text in quotes that begins here ends in line 2 only"),
        ('a: "b" c', "crm.yaml:1:6: the text in quotes that begins in column 4 ends here"),
        ('a: "b\n  c"\nd: [', "crm.yaml:3:5: this is not YAML"),
        ("a: b: c", "crm.yaml:1:5: this is not YAML: mapping values are not allowed here"),
        ("a:\n\tb: 1", "crm.yaml:2:1: there is a tab here"),
        ("? [1, 2]\n: 3", "crm.yaml:1:3: a key has to be a plain text"),
        ("a: \x07", "crm.yaml:1:4: there is a character that YAML does not allow"),
        ("[" * 50, "crm.yaml:1:42: this is nested more than 40 deep"),
        ("[" * 5000, "crm.yaml:1:42: this is nested more than 40 deep"),
    ],
)
def test_what_is_not_read_says_where_and_why(text: str, says: str) -> None:
    assert problem(text).startswith(says)


STEPS = """\
operations:
  users.get:
    steps:
      - get: /c
    result:
      id: body.id
      phone: body.phone
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    steps:", "\tsteps:", "3:1: there is a tab here; write blanks, for YAML takes no tabs"),
        ("id: body", "id:\tbody", "6:10: there is a tab here; write blanks, for YAML takes no tabs"),
        (
            "      id",
            "\u00a0     id",
            "6:1: here is a sign that only looks like a blank (U+00A0); write a blank",
        ),
        ("/c", "{a: \u201c${b}\u201d}", "4:18: \u201c is no quote for YAML; write \" or ' at both ends"),
        (
            "body.id",
            '"${a | date("%d")}"',
            "6:23: the text in quotes that begins in column 11 ends here, and more follows; "
            "close it before, or write ' around a text that has \" in it",
        ),
        (
            "body.id",
            """'${a | where('b')}'""",
            "6:24: the text in quotes that begins in column 11 ends here, and more follows; "
            "close it before, or write \" around a text that has ' in it",
        ),
        (
            "body.id",
            "{a: ${b}}",
            '6:15: ${ has no quotes around it here; write "${…}"',
        ),
        (
            "body.id",
            "{a: b",
            "7:12: a comma is missing before this, or the { of line 6 is not closed; "
            "see that each { and [ has its end",
        ),
        ("body.phone\n", "{a: b", "7:14: the { that begins here is not closed; close it"),
        ("phone: body", "phone body", "7:7: there is no colon after this; write name: value"),
        ("body.id", "&", "6:11: no text may begin with &; put it into quotes"),
        ("body.id", "%d", "6:11: no text may begin with %; put it into quotes"),
        (
            "    result",
            "   result",
            "5:4: this line begins after 3 blanks, the block under line 2 after 4; "
            "indent all lines of a block alike, and the line over it less",
        ),
        (
            "      phone",
            "       phone",
            "7:8: this line is indented deeper than the one above, which has a value already; "
            "indent them alike",
        ),
    ],
)
def test_what_people_mistype_is_told_in_their_words(old: str, new: str, says: str) -> None:
    assert old in STEPS
    assert problem(STEPS.replace(old, new, 1)) == f"crm.yaml:{says}"


def test_every_value_knows_its_place() -> None:
    source = read("a:\n  b: [1, {c: input.phon}]\n", "crm.yaml")
    assert str(source.place(("a", "b", 1, "c"))) == "crm.yaml:2:14"
    assert str(source.place(("a", "b", 1, "c"), "phon")) == "crm.yaml:2:14"
    assert str(source.place(("a", "b", 1, "c"), "input.phon")) == "crm.yaml:2:14"
    assert str(source.place(("a", "b"), key=True)) == "crm.yaml:2:3"
    assert str(source.place(("a", "nothing", 0))) == "crm.yaml:2:3"


def slowly(text: str) -> SourceFile:
    """Read with the reader that every installation has."""
    file = SourceFile("crm.yaml", text)
    source._Reader(file, yaml.SafeLoader).read()
    return file


def written(file: SourceFile) -> object:
    """Values, keys and places; where nothing is written, one of the readers points a blank further."""
    places = {path: span for path, span in file.spans.items() if span.start < span.end}
    return file.values, file.keys, places


FASTER = pytest.mark.skipif(source._FAST is yaml.SafeLoader, reason="this PyYAML has no reader in C")


@FASTER
@pytest.mark.parametrize("connector", shipped().values(), ids=shipped())
def test_both_readers_give_every_connector_the_same_values_and_places(connector: Path) -> None:
    text = connector.read_text(encoding="utf-8")
    assert read(text, "crm.yaml") == slowly(text)


@FASTER
def test_what_the_fast_reader_takes_the_other_takes_alike() -> None:
    """Pieces of connectors with a sign or two too many; a fifth of them is YAML all the same."""
    texts, chance = [file.read_text(encoding="utf-8") for file in shipped().values()], random.Random(1)
    taken = 0
    for _ in range(200):
        lines = chance.choice(texts).split("\n")
        first = chance.randrange(len(lines))
        text = "\n".join(lines[first : first + 12])
        for _ in range(chance.choice((1, 1, 2))):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice("\t\n :,-[]{}#&*!|>'\"%@`?~\\é\u2028\ufeff\x85a0=.") + text[at:]
        if source._READ_OTHERWISE.isdisjoint(text):
            try:
                source._Reader(quickly := SourceFile("crm.yaml", text), source._FAST).read()
            except (yaml.YAMLError, ConnectorError):
                continue
            assert written(quickly) == written(slowly(text))
            taken += 1
    assert taken > 20


@FASTER
@pytest.mark.parametrize("sign", sorted(source._READ_OTHERWISE))
def test_files_with_signs_that_the_readers_take_otherwise_are_read_by_the_one(sign: str) -> None:
    text = f"a:{sign}{{b{sign}c: d}}\n"
    try:
        expected = slowly(text)
    except yaml.YAMLError:
        assert "crm.yaml:1:3: there is a tab here" in problem(text)
    else:
        assert read(text, "crm.yaml") == expected
