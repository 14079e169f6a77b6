"""A bank behind HTTP: each operation is a POST of its arguments; whatever comes back is an answer or one of its errors.

`POST <url>/<operation>` with `{"customer": "...", "arguments": {...}}` and the header `Idempotency-Key`. 200: an object
of texts, the outputs. 4xx: `{"error": "<code>"}`, one of the operation's own errors. No answer within the time is
`timeout`; no connection, 429 and 5xx are `unavailable`; anything else is `invalid`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

from finance.customer_service.bank import BankError, Values

TIMEOUT = httpx.Timeout(5.0, connect=2.0)
MOST_BYTES = 64 * 1024
AGAIN = 1
"""Second tries where the first cannot have had an effect, or the key keeps it from having two."""


class HttpBank:
    """See the module; safe for many threads. `key` goes along as a bearer token."""

    def __init__(self, url: str, key: str = "", timeout: httpx.Timeout = TIMEOUT) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self.close = self._client.close

    def call(self, operation: str, arguments: Values, *, customer: str, key: str) -> dict[str, str]:
        """See `Bank`."""
        body = {"customer": customer, "arguments": dict(arguments)}
        for left in range(AGAIN, -1, -1):
            try:
                with self._client.stream("POST", operation, json=body, headers={"idempotency-key": key}) as answer:
                    if answer.status_code == 503 and left:
                        continue
                    return _outputs(answer.status_code, _read(answer))
            except httpx.ConnectError:
                if not left:
                    raise BankError("unavailable") from None
            except httpx.TimeoutException:
                raise BankError("timeout") from None
            except (httpx.HTTPError, httpx.InvalidURL):
                raise BankError("unavailable") from None
        raise BankError("unavailable")


def _read(answer: httpx.Response) -> bytes:
    content = b""
    for chunk in answer.iter_bytes():
        content += chunk
        if len(content) > MOST_BYTES:
            raise BankError("invalid")
    return content


def _outputs(status: int, content: bytes) -> dict[str, str]:
    if status == 429 or status >= 500:
        raise BankError("unavailable")
    try:
        found = json.loads(content)
    except ValueError:
        raise BankError("invalid") from None
    if not isinstance(found, Mapping):
        raise BankError("invalid")
    if 400 <= status < 500:
        raise BankError(str(found.get("error", "invalid")))
    if status != 200 or not all(isinstance(value, str) for value in found.values()):
        raise BankError("invalid")
    return dict(found)
