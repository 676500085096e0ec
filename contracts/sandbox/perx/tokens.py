"""Tokens of Perx, of three kinds: the application's, a merchant's, a customer's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from contracts.crm import Operation
from contracts.sandbox.perx.keeping import Keeping
from contracts.sandbox.perx.records import CLIENT_ID, CLIENT_SECRET, MERCHANT_IDENTIFIER, TENANT
from contracts.sandbox.server import Call, Refused, Reply, bearer, now

_USER_SCOPE = re.compile(r"user_account\(identifier:(.+)\)")


class Tokens(Keeping):
    """Issues tokens, and lets in who has the right one."""

    def issue_token(self, call: Call) -> Reply:
        body = call.body
        if (body["client_id"], body["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
            self._no_token()
        scope = body.get("scope")
        if scope == "merchant_user_account":
            if body["identifier"] != MERCHANT_IDENTIFIER:
                self._no_token()
            token = self._issue("merchant", body["identifier"], body)
            return Reply({"bearer_token": token, "tenant": TENANT})
        kind, subject = "application", ""
        if scope is not None:
            kind, subject = "user", _USER_SCOPE.sub(r"\1", scope)
            if self._by_identifier(subject) is None:
                self._no_token()
        reply = {
            "access_token": self._issue(kind, subject, body),
            "token_type": "Bearer",
            "expires_in": self._seconds(body),
            "created_at": int(now().timestamp()),
        }
        return Reply(reply if scope is None else {**reply, "scope": scope})

    def _issue(self, kind: str, subject: str, body: Mapping[str, Any]) -> str:
        return self.new_token(kind, subject, self._seconds(body))

    def _seconds(self, body: Mapping[str, Any]) -> int:
        return int(body.get("expires_in", self.switches.token_seconds))

    def _no_token(self) -> None:
        description = "Client authentication failed or the resource owner is unknown"
        raise Refused(Reply({"error": "invalid_client", "error_description": description}, 401))

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if not operation.security:
            return
        (wanted,) = operation.security[0]
        text = bearer(headers)
        if text is None:
            raise Refused(self.unauthorized(), invalid="no Authorization: Bearer header")
        token = self.tokens.find(text)
        if token is None:
            raise Refused(self.unauthorized())
        if token.kind != wanted:
            raise Refused(self.unauthorized(), invalid=f"a token of kind {token.kind}, {wanted} is needed")

    def unauthorized(self) -> Reply:
        return Reply({"error": "invalid_token", "error_description": "The access token is not valid"}, 401)
