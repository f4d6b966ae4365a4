"""How much does the service take on at once, how long does it wait, and what is refused beyond that?"""

from __future__ import annotations

import os
from dataclasses import dataclass

from melascope.errors import MelascopeError

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """All that bounds the service; none may be zero.

    Parameters
    ----------
    queue : pictures that have come in whole and are not yet answered
    batch : pictures that the network is shown at once, at most
    gather_ms : how long the first picture of a batch waits for others, in milliseconds
    deadline_s : from the last byte of a picture to its answer, in seconds
    max_body : largest picture file, in bytes, counted as it comes in
    max_bodies : bytes of all pictures that are coming in or waiting
    connections : open connections; what is asked over more gets 503, but for /health and /ready
    patience_s : how long a client may take for the head of a request, or for a body beyond its bytes / `slowest`
    slowest : bytes a second that a client must send of a body after that
    decoders : pictures decoded side by side; the largest takes about 0.4 GB while that lasts
    """

    queue: int = 32
    batch: int = 8
    gather_ms: float = 3
    deadline_s: float = 10
    max_body: int = 16 * MIB
    max_bodies: int = 256 * MIB
    connections: int = 512
    patience_s: float = 8
    slowest: int = 32 * 1024
    decoders: int = min(4, os.cpu_count() or 1)

    def __post_init__(self) -> None:
        wrong = [name for name, value in vars(self).items() if not value > 0]
        if wrong:
            raise MelascopeError(
                f"A limit is {vars(self)[wrong[0]]}.",
                where=", ".join(f"--{name.replace('_', '-')}" for name in wrong),
                expected="a number above 0",
            )
        if self.max_bodies < self.max_body:
            raise MelascopeError(
                f"No picture of {self.max_body:,} bytes fits into {self.max_bodies:,} bytes for all.",
                where="--max-bodies",
                fix="let it be several times --max-body",
            )
