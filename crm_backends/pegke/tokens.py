"""How Pegke is shown who we are, and how the application's token is given up.

One token is out per application, shared by all processes. It may not know what is asked with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from crm_backends.http import Auth, Bearer, ClientCredentials, Details, HttpClient
from crm_backends.pegke.replies import PegkeReplies
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import Deadline, NotSupported, Written

_TOLD_SHORT = 1.0
"""Seconds a token may last longer than told, as whole seconds are told. While it lives Pegke gives the same
one again and soon says "too often"; one that is over costs a 401 and is renewed."""


def auth_of(settings: PegkeSettings, replies: PegkeReplies) -> Auth:
    """The proof of the dialect: a token for the application, or a fixed key."""
    if settings.dialect == "merchant_v1":
        secret = settings.consumer_secret
        return Bearer(f"{settings.consumer_code}.{secret.get_secret_value() if secret else ''}")
    secret = settings.client_secret
    return ClientCredentials(
        settings.token_path,
        settings.client_id or "",
        secret.get_secret_value() if secret else "",
        body=settings.token_body,
        credentials_in=settings.token_credentials,
        margin=-_TOLD_SHORT,
        back_off=lambda reply: settings.back_off if replies.too_often(reply) else 0.0,
    )


async def invalidate(client: HttpClient, auth: Auth, settings: PegkeSettings, deadline: Deadline) -> Written:
    """Have Pegke forget the application's token; ``client`` is an open one with ``auth``.

    Raises:
        NotSupported: the dialect has no tokens.
        BackendError: there is no token to give up; nothing was done.
    """
    if not isinstance(auth, ClientCredentials):
        raise NotSupported("merchant_v1 has a fixed key: have the vendor replace it")
    proof = await client.sign_in(deadline)
    # The credentials go as in a token request, and no token beside them: this call goes without the flow.
    request = auth.request(None)
    fields = dict(request.form if request.form is not None else cast("Mapping[str, str]", request.json))
    del fields["grant_type"]
    fields["access_token"] = proof["Authorization"].removeprefix("Bearer ")
    details = Details(headers=request.headers, deadline=deadline, accept=(403,))
    details["form" if request.form is not None else "json"] = fields
    bare = HttpClient(client.name, settings)
    async with bare.at_hand():
        answer = await bare.write("POST", settings.invalidate_path, **details)
    auth.renew(None, proof)
    if isinstance(answer, Written):
        return answer
    return Written.done() if answer.ok else Written.refused()
