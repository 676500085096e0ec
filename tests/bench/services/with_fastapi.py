"""The card look-up as FastAPI's documentation teaches it: a response model, a Basic dependency, a pool.

uvicorn with uvloop and httptools, no access log. It may not know the adapter.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel

from tests.bench.services import common

FIND = """
    SELECT card.number, card.state, card.barcode_number, card.barcode_type
      FROM crm.customers AS customer
      JOIN koshelek.cards AS card ON card.users_reference = customer.id::text
     WHERE customer.phone = $1
"""


class Barcode(BaseModel):
    barcodeNumber: str  # noqa: N815 - the wire's names
    barcodeType: str  # noqa: N815


class Card(BaseModel):
    cardNumber: str  # noqa: N815
    cardState: str  # noqa: N815
    barcode: Barcode


class Found(BaseModel):
    card: Card


basic = HTTPBasic()


async def authenticated(given: Annotated[HTTPBasicCredentials, Depends(basic)]) -> None:
    # The documentation has a plain function here, which goes through a thread; this one is faster.
    login_fits = secrets.compare_digest(given.username.encode(), common.LOGIN.encode())
    password_fits = secrets.compare_digest(given.password.encode(), common.PASSWORD.encode())
    if not (login_fits and password_fits):
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, headers={"WWW-Authenticate": "Basic"})


async def find_card(request: Request, msisdn: str) -> Found:
    async with request.app.state.pool.acquire() as connection:
        row = await connection.fetchrow(FIND, "+" + msisdn)
    if row is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    barcode = Barcode(barcodeNumber=row["barcode_number"], barcodeType=row["barcode_type"])
    return Found(card=Card(cardNumber=row["number"], cardState=row["state"], barcode=barcode))


def application(url: str) -> FastAPI:
    @asynccontextmanager
    async def with_pool(application: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, max_size=common.POOL_SIZE) as pool:
            application.state.pool = pool
            yield

    made = FastAPI(lifespan=with_pool)
    made.get("/v1/card", dependencies=[Depends(authenticated)])(find_card)
    return made


def main() -> None:
    options = common.parser("FastAPI and asyncpg").parse_args()
    uvicorn.run(
        application(options.database),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
