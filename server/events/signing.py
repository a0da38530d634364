"""Signatures of webhooks as the Standard Webhooks specification has them (standardwebhooks.com, version 1.0.0).

`webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`, keyed with what the base64 behind
`whsec_` stands for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

_PREFIX = "whsec_"
_KEY_BYTES = 32


def new_secret() -> str:
    """A secret for one receiver."""
    return _PREFIX + base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def signed(secret: str, message: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows the message: who sent it, which one it is, and when it was sent."""
    key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    told = b"%s.%d.%s" % (message.encode(), timestamp, body)
    signature = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
