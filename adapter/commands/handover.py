"""``koshelek-adapter handover``: the sheet that Koshelek is given when a service goes live.

It holds no password. It may not know the CRM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adapter.commands.terminal import ConfigFile, plainly, settings_for
from contracts.kit.terminal import fail

if TYPE_CHECKING:
    from adapter.settings import Settings

HTTPS = 443


@dataclass(frozen=True, slots=True)
class Words:
    """The sheet's sentences in one language."""

    title: str
    connection: str
    address: str
    base_path: str
    no_base_path: str
    version: str
    tls: str
    login: str
    sent_apart: str
    two_passwords: str
    methods: str
    behaviour: str
    answers: str
    unauthorized: str
    repeats: str
    codes: str
    zone: str
    reserve: dict[str, str]
    qr: str
    promo: str
    people: str
    no_people: str
    wanted: str
    questions: tuple[str, ...]
    contact: str
    all_codes: str
    code: str


WORDS = {
    "en": Words(
        title="Loyalty Online API: what Koshelek needs to connect",
        connection="Connection",
        address="Address (HTTPS)",
        base_path="Path before /v1",
        no_base_path="none",
        version="Version of the API",
        tls="TLS 1.2 or newer; the certificate is of a public authority",
        login="Login (HTTP Basic)",
        sent_apart="Password: handed over apart from this sheet, by a way that others cannot read",
        two_passwords="The old password is still accepted until Koshelek confirms the new one.",
        methods="Methods that are served",
        behaviour="How it answers",
        answers="Every call is answered within {deadline:g} s; bodies up to {body} bytes are read.",
        unauthorized="A wrong login or password: status {status} with the envelope.",
        repeats="Any call may be repeated: a receipt and a card count once; so does a promo code that "
        "comes again within {replay:g} s.",
        codes="Errors: 422 with code and description in {language}. They are at the end of this sheet.",
        zone="Times of receipts are of the zone {zone}.",
        reserve={
            "object": "A reserved number is answered as a card object.",
            "number": "A reserved number is answered as the bare number.",
        },
        qr="The text of a receipt is taken from: {names}.",
        promo="A promo code is taken from: {names}.",
        people="People and cards to test with",
        no_people="(none named; --person adds them)",
        wanted="What we ask of Koshelek",
        questions=(
            "The addresses from which Koshelek calls, for our firewall.",
            "How long Koshelek waits for an answer, and whether it repeats a call.",
            "Most calls per second to expect, and when the methods getAllUsers are called.",
            "Names of the fields of the methods for receipts and promo codes, with an example of each.",
            "When the password may be changed, and whom we tell.",
        ),
        contact="Contact on our side",
        all_codes="Codes of errors",
        code="code",
    ),
    "ru": Words(
        title="Loyalty Online API: данные для подключения Кошелька",
        connection="Подключение",
        address="Адрес (HTTPS)",
        base_path="Путь перед /v1",
        no_base_path="нет",
        version="Версия API",
        tls="TLS 1.2 или новее; сертификат публичного центра",
        login="Логин (HTTP Basic)",
        sent_apart="Пароль: передаётся отдельно от этого листа, способом, недоступным посторонним",
        two_passwords="Старый пароль принимается, пока Кошелёк не подтвердит новый.",
        methods="Методы, которые обслуживаются",
        behaviour="Как отвечает сервис",
        answers="Ответ на любой вызов — не позже чем через {deadline:g} с; тело запроса — до {body} байт.",
        unauthorized="Неверный логин или пароль: статус {status} с телом code/description.",
        repeats="Любой вызов можно повторить: чек и карта учитываются один раз; промокод, присланный "
        "снова в течение {replay:g} с, — тоже.",
        codes="Ошибки: 422 с полями code и description, язык: {language}; коды — в конце листа.",
        zone="Время чеков — в часовом поясе {zone}.",
        reserve={
            "object": "Зарезервированный номер возвращается объектом card.",
            "number": "Зарезервированный номер возвращается строкой.",
        },
        qr="Текст чека читается из полей: {names}.",
        promo="Промокод читается из полей: {names}.",
        people="Люди и карты для проверки",
        no_people="(не указаны; добавляются через --person)",
        wanted="Что нужно от Кошелька",
        questions=(
            "Адреса, с которых обращается Кошелёк, — для нашего межсетевого экрана.",
            "Сколько Кошелёк ждёт ответа и повторяет ли вызов.",
            "Наибольшее число вызовов в секунду и когда вызываются методы getAllUsers.",
            "Имена полей в методах чека и промокода, по одному примеру запроса.",
            "Когда можно сменить пароль и кому об этом сообщить.",
        ),
        contact="Контакт с нашей стороны",
        all_codes="Коды ошибок",
        code="код",
    ),
}


@plainly
def handover(
    config: ConfigFile = None,
    address: Annotated[
        str, typer.Option(help="Name under which Koshelek reaches the service, with :port unless it is 443.")
    ] = "",
    person: Annotated[
        list[str] | None,
        typer.Option(help="Somebody to test with, in words; may be given several times."),
    ] = None,
    contact: Annotated[str, typer.Option(help="Whom Koshelek may ask.")] = "",
    language: Annotated[
        Literal["ru", "en"] | None, typer.Option(help="Language of the sheet; default: koshelek.language.")
    ] = None,
) -> None:
    """Print the sheet Koshelek is given: address, version, login, methods, what to tell us. No password."""
    settings = settings_for(config)
    host, _, port = address.rpartition(":") if address.rpartition(":")[2].isdigit() else (address, "", "")
    if not host:
        fail("say with --address under which name Koshelek reaches the service: loyalty.example.com")
    if "/" in host:
        fail(
            "--address is the name alone, without https:// and path: loyalty.example.com, or "
            "loyalty.example.com:8443; the path before /v1 is server.base_path"
        )
    if any(character.isspace() for character in host):
        fail("--address has a blank in it; it is a name: loyalty.example.com")
    words = WORDS[language or settings.koshelek.language]
    for line in sheet(settings, words, f"{host}:{port or HTTPS}", person or [], contact):
        typer.echo(line)


def sheet(settings: Settings, words: Words, address: str, people: list[str], contact: str) -> list[str]:
    """The lines of the sheet, as Markdown."""
    koshelek, before = settings.koshelek, settings.server.base_path
    rotating = [f"* {words.two_passwords}"] if koshelek.previous_password is not None else []
    return [
        f"# {words.title}",
        "",
        f"## {words.connection}",
        "",
        f"* {words.address}: `{address}`",
        f"* {words.base_path}: {f'`{before}`' if before else words.no_base_path}",
        f"* {words.version}: {koshelek.api_version}",
        f"* {words.tls}",
        f"* {words.login}: `{koshelek.login}`",
        f"* {words.sent_apart}",
        *rotating,
        "",
        f"## {words.methods}",
        "",
        *_methods(settings),
        "",
        f"## {words.behaviour}",
        "",
        *_behaviour(settings, words),
        "",
        f"## {words.people}",
        "",
        *([f"* {one}" for one in people] or [words.no_people]),
        "",
        f"## {words.wanted}",
        "",
        *[f"{number}. {question}" for number, question in enumerate(words.questions, 1)],
        *(["", f"{words.contact}: {contact}"] if contact else []),
        "",
        f"## {words.all_codes}",
        "",
        *_codes(settings, words),
    ]


def _codes(settings: Settings, words: Words) -> list[str]:
    """Each code with its description as it is answered; what we do about it stays with us."""
    from adapter.errors import TEXTS
    from contracts.kit.settings import markdown_table

    language = settings.koshelek.language
    rows = ([str(code.value), entry.text(language)] for code, entry in TEXTS.items())
    return list(markdown_table((words.code, "description"), rows))


def _methods(settings: Settings) -> list[str]:
    from adapter.api.app import routes_for

    before = settings.server.base_path
    return [
        f"* `{'`, `'.join(route.verbs)}` `{before}{route.path}`"
        for route in sorted(routes_for(settings), key=lambda route: route.path)
    ]


def _behaviour(settings: Settings, words: Words) -> list[str]:
    koshelek, served = settings.koshelek, settings.koshelek.api_version
    lines = [
        words.answers.format(deadline=settings.server.deadline, body=settings.server.max_body),
        words.unauthorized.format(status=koshelek.unauthorized_status),
        words.repeats.format(replay=settings.promo.replay),
        words.codes.format(language=koshelek.language),
        words.zone.format(zone=koshelek.timezone),
        words.reserve[koshelek.reserve_answer],
    ]
    if served >= "1.1.0":
        lines.append(words.qr.format(names=", ".join(f"`{name}`" for name in koshelek.qr_fields)))
    if served >= "1.3.0":
        lines.append(words.promo.format(names=", ".join(f"`{name}`" for name in koshelek.promo_fields)))
    return [f"* {line}" for line in lines]
