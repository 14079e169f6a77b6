"""From a credential to its caller: API keys and tokens, in either header."""

from __future__ import annotations

from common.serving.security.caller import Caller
from common.serving.security.credentials import Several, from_basic
from common.serving.security.errors import Unauthenticated
from common.serving.security.keyring import Keyring
from common.serving.security.tokens import Expired, Tokens

BEARER = 'Bearer realm="espalier"'
REFUSED = f'{BEARER}, error="invalid_token"'
BASIC = 'Basic realm="espalier: any name, an API key as password", charset="UTF-8"'


class Authenticate:
    """At least one of `keys` and `tokens`."""

    def __init__(self, keys: Keyring | None, tokens: Tokens | None) -> None:
        self.keys, self.tokens = keys, tokens

    async def caller(self, shown: tuple[str, str] | Several | None, *, page: bool = False) -> Caller:
        """Who shows this; raises `Unauthenticated`. With `page` a browser asks its user for a key."""
        if shown is None:
            raise Unauthenticated(BASIC if page else BEARER)
        if isinstance(shown, Several):
            raise Unauthenticated(REFUSED, "more than one credential")
        kind, text = shown
        if kind == "basic":
            text = from_basic(text)
        elif kind != "bearer":
            raise Unauthenticated(BEARER)
        caller = None
        if text.startswith("esp_"):
            caller = self.keys.caller(text) if self.keys else None
        elif self.tokens:
            try:
                caller = self.tokens.kept(text) or await self.tokens.caller(text)
            except Expired:
                challenge = f'{REFUSED}, error_description="the token has expired"'
                raise Unauthenticated(challenge, "the token has expired") from None
        if caller is None:
            raise Unauthenticated(BASIC if kind == "basic" else REFUSED)
        return caller
