"""Who may ask: how are keys read, and how is one compared without telling how much of it was right?"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers

from melascope.errors import MelascopeError

SHORTEST = 20
"""Characters of a key; `python -c "import secrets; print(secrets.token_urlsafe(32))"` gives 43."""


@dataclass(frozen=True, repr=False)
class Keys:
    """Digests of the keys that are let in; none lets in everybody."""

    digests: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[str], *, where: str) -> Keys:
        """Keys in clear.

        Raises
        ------
        MelascopeError : there is none, or one is short or holds other than printable ASCII.
        """
        found = [key for key in (line.strip() for line in keys) if key]
        if not found:
            raise MelascopeError("There is no key.", where=where, fix="write one key a line, or leave the option out")
        for number, key in enumerate(found, start=1):
            if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
                raise MelascopeError(
                    f"Key {number} is too short, or holds a space or another character that no header carries.",
                    where=where,
                    expected=f"at least {SHORTEST} printable ASCII characters",
                    fix='python -c "import secrets; print(secrets.token_urlsafe(32))"',
                )
        return cls(tuple(hashlib.sha256(key.encode()).digest() for key in found))

    @classmethod
    def read(cls, path: Path) -> Keys:
        """One key a line; several let an old one go on while a new one is given out."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MelascopeError(f"The file of keys cannot be read ({type(error).__name__}).", where=path) from error
        return cls.of(text.splitlines(), where=str(path))

    def __bool__(self) -> bool:
        return bool(self.digests)

    def let_in(self, headers: Headers) -> bool:
        """Whether `Authorization: Bearer KEY` or `X-API-Key: KEY` holds one of the keys.

        Digests of one length are compared, all of them, each in constant time.
        """
        if not self.digests:
            return True
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        digest = hashlib.sha256(given.encode()).digest()
        return bool(sum(hmac.compare_digest(digest, one) for one in self.digests))
