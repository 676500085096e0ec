"""Where the options of the suite come from, and what is said about those that cannot be used."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from contracts.suite.config import ConfigError, Options, read_options
from contracts.suite.reference import sample

FILE = """
urls: [https://shop.example.com]
login: from-file
password: from-file-password
timeout: 7
existing: {phone: 79991110001, email: anna@example.org, birth_date: 1980-02-03}
plastic: 2900000000032
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KLO_CONFIG", "KLO_LOGIN", "KLO_PASSWORD", "KLO_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "koshelek-contract.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def problems(*arguments: object, **given: object) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read_options(given, *arguments)  # type: ignore[arg-type]
    return error.value.problems


def test_the_file_says_who_there_is(file: Path) -> None:
    options = read_options({}, file)
    assert options.existing is not None
    assert (options.existing.phone, options.existing.birth_date) == ("79991110001", date(1980, 2, 3))
    assert (options.plastic, options.secret, options.timeout) == ("2900000000032", "from-file-password", 7)


def test_the_environment_overrides_the_file_and_the_command_line_both(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLO_CONFIG", str(file))
    monkeypatch.setenv("KLO_LOGIN", "from-environment")
    monkeypatch.setenv("KLO_TIMEOUT", "9")
    assert read_options({"login": None}).login == "from-environment"
    options = read_options({"login": "from-command-line", "timeout": None})
    assert (options.login, options.timeout) == ("from-command-line", 9)
    assert options.urls == ["https://shop.example.com"]


def test_a_part_of_an_identity_may_come_from_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLO_EXISTING__CARD_NUMBER", "2900000000018")
    existing = read_options({}, file).existing
    assert existing is not None
    assert (existing.phone, existing.card_number) == ("79991110001", "2900000000018")


def test_lists_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLO_URLS", '["http://a.example", "http://b.example"]')
    assert read_options({}).urls == ["http://a.example", "http://b.example"]
    monkeypatch.setenv("KLO_URLS", '["http://a.example"')
    assert problems() == ["urls: expected texts with commas between them, or a JSON array"]


def test_lists_come_from_the_environment_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLO_URLS", "http://a.example, two=http://b.example")
    monkeypatch.setenv("KLO_ONLY", "KLO-3")
    options = read_options({})
    assert options.urls == ["http://a.example", "two=http://b.example"]
    assert options.only == ["KLO-3"]


def test_options_given_in_a_program_look_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLO_LOGIN", "from-environment")
    assert Options(login="given").login == "given"
    assert Options().login == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("logn: a", "logn: unknown key; did you mean login?"),
        ("existing: {phon: '79991110001'}", "existing.phon: unknown key; did you mean phone?"),
        ("profile: all", "profile: Input should be 'read' or 'full'"),
        ("api_version: 2.0.0", "api_version: Input should be"),
        ("existing: {birth_date: 1980-02-03}", "existing: needs phone or email"),
        ("blocked: {card_number: '29'}", "blocked: needs phone or email: it is looked up by them"),
        ("unknown: {}", "unknown: needs phone or email"),
        ("ambiguous: {phone: '79991110001'}", "ambiguous: needs phone and email"),
        ("{password: a, password_file: b}", "password and password_file are both set; one is enough"),
        ("existing: {phone: anna}", "existing.phone: expected 5 to 15 digits with the country code"),
        ("offers_path: /v1/offers", "offers_path: the path begins with / and holds {cardNumber} once"),
        ("test_range: seven", "test_range: expected 1 to 13 digits"),
        ("[1, 2]", "expected a mapping of options"),
        ("a: [", "not a YAML file; look at line 1"),
        ("login: a\nurls: [b]\npassword: *planted-secret\n", "not a YAML file; look at line 3"),
        ("login: a\nlogin: b\n", "line 2: login stands there twice; leave one"),
        ("existing: {phone: '79991110001', phone: '79991110002'}", "line 1: phone stands there twice"),
        ("? [a]\n: b\n", "not a YAML file"),
        ("qr_field: ''", "qr_field: String should have at least 1 character"),
        ("receipt_points: -1", "receipt_points: Input should be greater than or equal to 0"),
        ("base_path: /shop?a=1", "base_path: expected a path like /loyalty"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(file: Path, text: str, said: str) -> None:
    file.write_text(text, encoding="utf-8")
    (problem,) = problems(file)
    assert said in problem
    assert "planted" not in problem


def test_an_unknown_variable_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLO_LOGN", "a")
    assert problems() == ["KLO_LOGN: unknown variable; did you mean KLO_LOGIN?"]


def test_all_problems_are_told_at_once_and_no_value(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLO_NONSENSE", "planted-1")
    file.write_text("passwrd: planted-2\nexisting: {phone: planted-3}\ntimeout: planted-4", encoding="utf-8")
    told = "\n".join(problems(file))
    assert [key in told for key in ("KLO_NONSENSE", "passwrd", "existing.phone", "timeout")] == [True] * 4
    assert "planted" not in told


def test_the_password_comes_from_a_file_without_its_line_break(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("секрет: Ёж \n", encoding="utf-8")
    assert read_options({"password_file": path}).secret == "секрет: Ёж "
    with pytest.raises(ConfigError, match=r"password_file: cannot read .*No such file"):
        _ = read_options({"password_file": tmp_path / "none"}).secret


def test_the_password_of_the_strongest_source_holds_in_whichever_form(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_text("from the file of one", encoding="utf-8")
    assert read_options({"password_file": tmp_path / "one"}, file).secret == "from the file of one"
    monkeypatch.setenv("KLO_PASSWORD_FILE", str(tmp_path / "one"))
    assert read_options({}, file).secret == "from the file of one"
    assert read_options({"password": "typed"}, file).secret == "typed"
    monkeypatch.setenv("KLO_PASSWORD", "from-environment")
    assert problems(file) == ["environment: password and password_file are both set; one is enough"]
    assert read_options({"password": "typed"}, file).secret == "typed"


def test_values_of_the_file_are_the_text_that_stands_there(file: Path) -> None:
    file.write_text(
        "{plastic: 0012345, promo_code: 0777, receipt_total: 1000.00, strict: true}", encoding="utf-8"
    )
    options = read_options({}, file)
    assert (options.plastic, options.promo_code, options.receipt_total) == ("0012345", "0777", "1000.00")
    assert options.strict


def test_the_sample_names_every_option_and_can_be_used(file: Path) -> None:
    text = sample()
    file.write_text(text, encoding="utf-8")
    assert read_options({}, file).model_dump() == Options().model_dump()
    file.write_text(re.sub(r"(?m)^#(?=\w)", "", text).replace("\npassword: ", "\n#"), encoding="utf-8")
    options = read_options({}, file)
    assert options.model_fields_set == set(Options.model_fields)
    assert options.receipt_wait == Options().receipt_wait


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot read it: No such file" in problems(tmp_path / "none.yaml")[0]
