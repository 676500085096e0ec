"""A caller for the stand-in servers that holds every answer against the OpenAPI file, and a test of it."""

from __future__ import annotations

import json as json_module
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from contracts.sandbox import Sandbox, running


@dataclass(frozen=True)
class Answer:
    """Status, headers and body; the body is text where it is no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Caller:
    """Calls operations by their ids, where the file and the switches put them."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        self.headers: dict[str, str] = {}

    @property
    def ledger(self) -> Any:
        return self.sandbox.ledger()

    async def __call__(
        self,
        operation_id: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        checked: bool = True,
        **path: Any,
    ) -> Answer:
        """One call; the answer must be one that the file allows unless ``checked`` is off."""
        operation = self.sandbox.stand_in.specification.operations[operation_id]
        method, template = operation.served_at(self.sandbox.stand_in.switches.model_dump())
        data = None
        if form is not None:
            with aiohttp.MultipartWriter("form-data") as data:
                for key, value in form.items():
                    data.append(value).set_content_disposition("form-data", name=key)
        answer = await self.raw(
            method,
            template.format(**path),
            params={**operation.fixed_query, **(query or {})},
            headers={**self.headers, **(headers or {})},
            json=json,
            data=data,
        )
        if checked:
            assert operation.reply_problem(answer.status, answer.body) is None
        return answer

    async def raw(self, method: str, path: str, **options: Any) -> Answer:
        """One request, whatever the file says."""
        async with self.session.request(method, self.sandbox.base_url + path, **options) as response:
            text = await response.text()
            try:
                body = json_module.loads(text)
            except ValueError:
                body = text
            return Answer(response.status, response.headers, body)


@asynccontextmanager
async def calling(name: str, **switches: Any) -> AsyncIterator[Caller]:
    """A running stand-in and a caller of it."""
    async with running(name, **switches) as sandbox, aiohttp.ClientSession() as session:
        yield Caller(sandbox, session)


async def test_the_caller_notices_an_answer_that_the_file_does_not_allow() -> None:
    async with calling("perx") as call:
        body = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
        assert (await call("issueToken", json=body)).status == 401
        call.sandbox.fault("garbage")
        with pytest.raises(AssertionError):
            await call("issueToken", json=body)
