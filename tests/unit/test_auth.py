"""HTTP Basic: which headers are let in, and what a hashed password costs."""

from __future__ import annotations

import asyncio
import base64
import hmac
import threading
import time
from typing import Any

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adapter.api.auth import Authenticator, Credential, credentials_of, hash_password
from adapter.errors import Code, Refused
from adapter.settings import Koshelek
from tests.support.waiting import until

CURRENT = Credential("koshelek", "correct horse battery staple")
PREVIOUS = Credential("koshelek-2024", "an older, but still valid one")
PATIENCE = 20.0
_CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


def basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


def hashed(login: str, password: str) -> Credential:
    return Credential(login, _CHEAP.hash(password))


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every run of the slow hash."""
    runs: list[bytes] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, known: str, password: Any) -> bool:
        runs.append(bytes(password))
        return bool(verify(self, known, password))

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    return runs


async def test_the_pair_of_the_settings_is_let_in() -> None:
    assert await Authenticator([CURRENT]).accepts(basic("koshelek", "correct horse battery staple"), PATIENCE)


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("koshelek", "wrong"),
        ("koshelek", ""),
        ("koshelek", "correct horse battery staple "),
        ("koshelek", "Correct horse battery staple"),
        ("koshelek", "correct horse battery stapl"),
        ("Koshelek", "correct horse battery staple"),
        ("", "correct horse battery staple"),
        ("", ""),
        ("koshelek-2024", "correct horse battery staple"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "hashed"])
async def test_another_pair_is_not(login: str, password: str, kind: str) -> None:
    pair = CURRENT if kind == "plain" else hashed(CURRENT.login, CURRENT.password)
    assert not await Authenticator([pair, PREVIOUS]).accepts(basic(login, password), PATIENCE)


async def test_two_pairs_are_let_in_while_credentials_are_rotated_but_not_their_mixture() -> None:
    for first in (CURRENT, hashed(CURRENT.login, CURRENT.password)):
        for second in (PREVIOUS, hashed(PREVIOUS.login, PREVIOUS.password)):
            authenticator = Authenticator([first, second])
            assert await authenticator.accepts(basic(CURRENT.login, CURRENT.password), PATIENCE)
            assert await authenticator.accepts(basic(PREVIOUS.login, PREVIOUS.password), PATIENCE)
            assert not await authenticator.accepts(basic(CURRENT.login, PREVIOUS.password), PATIENCE)
            assert not await authenticator.accepts(basic(PREVIOUS.login, CURRENT.password), PATIENCE)


async def test_one_login_may_have_two_passwords_during_a_rotation() -> None:
    authenticator = Authenticator([hashed("koshelek", "new"), hashed("koshelek", "old")])
    assert await authenticator.accepts(basic("koshelek", "old"), PATIENCE)
    assert await authenticator.accepts(basic("koshelek", "new"), PATIENCE)


async def test_without_any_pair_nobody_is_let_in() -> None:
    authenticator = Authenticator([])
    assert not await authenticator.accepts(basic("koshelek", ""), PATIENCE)
    assert not await authenticator.accepts(basic("", ""), PATIENCE)


@pytest.mark.parametrize("kind", ["plain", "hashed"])
async def test_login_and_password_are_utf8_and_a_password_may_hold_colons(kind: str) -> None:
    pair = ("кошелёк", "пароль: длинный:☂")
    known = Credential(*pair) if kind == "plain" else hashed(*pair)
    assert await Authenticator([known]).accepts(basic(*pair), PATIENCE)
    latin = base64.b64encode("кошелёк:пароль: длинный:?".encode("cp1251")).decode()
    assert not await Authenticator([known]).accepts(f"Basic {latin}", PATIENCE)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "Basic",
        "Basic ",
        "Basic =",
        "Basic !!!",
        "Basic \u2603",
        "Basic a",
        "Basic Zm9v",  # "foo": no colon
        "Basic " + base64.b64encode(b"koshelek:correct horse battery staple").decode()[:-1],
        "Basic " + base64.b64encode(b"koshelek:correct horse battery staple").decode() + ", x",
        "Bearer " + base64.b64encode(b"koshelek:correct horse battery staple").decode(),
        base64.b64encode(b"koshelek:correct horse battery staple").decode(),
        "Basic koshelek:correct horse battery staple",
        "Basic \udcff",
    ],
)
async def test_a_malformed_header_is_a_wrong_one_and_no_error(header: str | None) -> None:
    assert not await Authenticator([CURRENT]).accepts(header, PATIENCE)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
async def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    header = basic(CURRENT.login, CURRENT.password).replace("Basic", scheme)
    assert await Authenticator([CURRENT]).accepts(header, PATIENCE)


@given(st.one_of(st.text(), st.text().map(lambda text: f"Basic {text}"), st.binary().map(
    lambda raw: f"Basic {base64.b64encode(raw).decode()}"
)))  # fmt: skip
async def test_any_header_is_answered_with_no(header: str) -> None:
    assert not await Authenticator([CURRENT]).accepts(header, PATIENCE)


async def test_a_plain_pair_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def seen(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", seen)
    authenticator = Authenticator([CURRENT, PREVIOUS])
    for header in (basic(CURRENT.login, CURRENT.password), basic("x", "y"), basic("koshelek", "c")):
        compared.clear()
        await authenticator.accepts(header, PATIENCE)
        # Both pairs, each by a digest: neither the first match nor a length shows in the time.
        assert compared == [(32, 32), (32, 32)]


async def test_a_hashed_password_is_verified_once_and_then_remembered(verifications: list[bytes]) -> None:
    authenticator = Authenticator([hashed("koshelek", "secret")])
    for _ in range(5):
        assert await authenticator.accepts(basic("koshelek", "secret"), PATIENCE)
    assert verifications == [b"secret"]


async def test_parallel_first_requests_verify_once(verifications: list[bytes]) -> None:
    authenticator = Authenticator([hashed("koshelek", "secret")])
    answers = await asyncio.gather(
        *(authenticator.accepts(basic("koshelek", "secret"), PATIENCE) for _ in range(20))
    )
    assert all(answers)
    assert len(verifications) == 1


async def test_a_few_headers_may_wait_to_be_hashed_and_more_are_refused(verifications: list[bytes]) -> None:
    authenticator = Authenticator([hashed("koshelek", "secret")])
    passwords = [f"guess {number}" for number in range(10)] * 2
    answers = await asyncio.gather(
        *(authenticator.accepts(basic("koshelek", password), PATIENCE) for password in passwords),
        return_exceptions=True,
    )
    assert answers.count(False) == 16
    assert [error.code for error in answers if isinstance(error, Refused)] == [Code.OVERLOADED] * 4
    assert verifications == [password.encode() for password in passwords[:8]]
    assert await authenticator.accepts(basic("koshelek", "secret"), PATIENCE)


async def test_a_hash_that_takes_too_long_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = Authenticator([hashed("koshelek", "secret")])
    assert await authenticator.accepts(basic("koshelek", "secret"), PATIENCE)
    released = threading.Event()
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: not released.wait(PATIENCE))
    try:
        began = time.monotonic()
        with pytest.raises(Refused) as refused:
            await authenticator.accepts(basic("koshelek", "wrong"), 0.1)
        assert refused.value.code is Code.OVERLOADED
        # While the hash is still computed, whoever is remembered is let in.
        assert await authenticator.accepts(basic("koshelek", "secret"), 0.1)
        assert time.monotonic() - began < 5
    finally:
        released.set()
        await until(lambda: not authenticator._judged)


async def test_a_failure_is_not_remembered(verifications: list[bytes]) -> None:
    authenticator = Authenticator([hashed("koshelek", "secret")])
    for _ in range(3):
        assert not await authenticator.accepts(basic("koshelek", "wrong"), PATIENCE)
    assert verifications == [b"wrong"] * 3
    assert await authenticator.accepts(basic("koshelek", "secret"), PATIENCE)


async def test_a_remembered_password_lets_no_other_login_in(verifications: list[bytes]) -> None:
    authenticator = Authenticator([hashed("koshelek", "secret")])
    assert await authenticator.accepts(basic("koshelek", "secret"), PATIENCE)
    assert not await authenticator.accepts(basic("koshele", "k:secret"), PATIENCE)
    assert not await authenticator.accepts(basic("other", "secret"), PATIENCE)


async def test_a_plain_pair_beside_a_hashed_one_costs_no_hash(verifications: list[bytes]) -> None:
    authenticator = Authenticator([CURRENT, hashed("old", "secret")])
    assert await authenticator.accepts(basic(CURRENT.login, CURRENT.password), PATIENCE)
    assert verifications == []


async def test_a_hash_that_was_cut_short_lets_nobody_in() -> None:
    broken = Credential("koshelek", _CHEAP.hash("secret")[:-10])
    assert not await Authenticator([broken]).accepts(basic("koshelek", "secret"), PATIENCE)
    assert not await Authenticator([broken]).accepts(basic("koshelek", broken.password), PATIENCE)


async def test_the_printed_hash_is_accepted_as_a_password() -> None:
    printed = hash_password("secret")
    assert printed.startswith("$argon2id$")
    assert printed != hash_password("secret")
    assert await Authenticator([Credential("koshelek", printed)]).accepts(
        basic("koshelek", "secret"), PATIENCE
    )
    assert not await Authenticator([Credential("koshelek", printed)]).accepts(
        basic("koshelek", printed), PATIENCE
    )


def test_the_settings_hold_none_one_or_two_pairs() -> None:
    assert credentials_of(Koshelek()) == []
    one = Koshelek(login="a", password=SecretStr("x"))
    assert credentials_of(one) == [Credential("a", "x")]
    two = Koshelek(login="a", password=SecretStr("x"), previous_login="b", previous_password=SecretStr("y"))
    assert credentials_of(two) == [Credential("a", "x"), Credential("b", "y")]


async def test_no_credential_shows_when_printed() -> None:
    authenticator = Authenticator([CURRENT, hashed("old", "secret")])
    await authenticator.accepts(basic("old", "secret"), PATIENCE)
    assert "staple" not in f"{CURRENT!r} {authenticator!r} {[CURRENT]}"
