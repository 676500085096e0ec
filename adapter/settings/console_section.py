"""The section about the console: who may log in, and by which names it may be opened.

It may not know what the pages show.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from adapter.settings.base import Section
from adapter.settings.sections import SHORTEST_PASSWORD

HASHED = "$argon2"
"""What a hashed password begins with."""

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._\-\[\]:]+$", to_lower=True)]


class Person(Section):
    """Somebody who may log in to the console."""

    name: str = Field(
        pattern=r"^[\w.@+-]{1,60}$",
        description="Login; it stands beside everything the person decides.",
        examples=["olga"],
    )
    role: Literal["reader", "operator"] = Field(
        "reader", description="`reader` looks; `operator` decides, too: held operations, cards, imports."
    )
    password: SecretStr = Field(
        description="A hash as `koshelek-adapter config hash` prints it, or plain text of at least 16 "
        "characters; better `password_file`, the path of a file that holds either.",
        examples=["$argon2id$v=19$m=65536,t=3,p=4$..."],
    )

    @field_validator("password")
    @classmethod
    def _password_cannot_be_guessed(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if not text.startswith(HASHED) and len(text) < SHORTEST_PASSWORD:
            raise ValueError(
                f"the password is shorter than {SHORTEST_PASSWORD} characters; take a longer one, or a hash "
                "(koshelek-adapter config hash)"
            )
        return SecretStr(text)


class Console(Section):
    """The console: pages for people, on the management port. Off unless somebody may log in."""

    people: list[Person] = Field(
        [],
        description="Who may log in, a table each.",
        examples=[[{"name": "olga", "role": "operator", "password_file": "/etc/koshelek/olga"}]],
    )
    hosts: list[Host] = Field(
        [],
        description="Names under which browsers open it, without a port, beside localhost and 127.0.0.1, for "
        "example that of the proxy before it. A request for any other name is refused.",
        examples=[["console.shop.example"]],
    )
    https: bool = Field(
        False,
        description="Browsers reach it by https, through a proxy; the cookie is then sent by https alone.",
    )
    idle_minutes: int = Field(
        30, ge=1, le=1440, description="Minutes without a click after which one has to log in again."
    )

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        names = Counter(person.name for person in self.people)
        for name, times in names.items():
            if times > 1:
                raise ValueError(f'people: "{name}" stands there twice; each needs a name of their own')
        return self
