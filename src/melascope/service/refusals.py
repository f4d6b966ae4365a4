"""What can the service answer instead of a result, under which status and code, and what should the client do?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field
from starlette.responses import JSONResponse

from melascope.config import Strict


class Problem(Strict):
    """Why there is no result, and what to do now."""

    code: str = Field(description="One word for programs; the list stands in docs/service.md.")
    error: str = Field(description="What was found, in one sentence.")
    fix: str = Field(description="What to do now.")


STATUS: dict[str, int] = {
    "client_left": 400,
    "no_key": 401,
    "foreign_page": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_slow": 408,
    "too_large": 413,
    "no_picture": 415,
    "unknown_host": 421,
    "unusable_picture": 422,
    "unlike": 422,
    "bad_parameter": 422,
    "bug": 500,
    "too_many_lines": 503,
    "queue_full": 503,
    "too_many_bytes": 503,
    "deadline_passed": 503,
    "stopping": 503,
}
"""Every code and its status."""


@dataclass(eq=False)  # not frozen: Python writes the traceback into it
class Refusal(Exception):
    """A request that gets no result.

    Parameters
    ----------
    code : row of `STATUS`
    headers : beside those of every answer, e.g. Retry-After
    """

    code: str
    error: str
    fix: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return STATUS[self.code]

    def response(self) -> JSONResponse:
        problem = Problem(code=self.code, error=self.error, fix=self.fix)
        return JSONResponse(problem.model_dump(), self.status, headers=dict(self.headers))


def busy(code: str, error: str, retry_after: int) -> Refusal:
    """A refusal for now: 503, and after how many seconds to come again."""
    seconds = "a second" if retry_after == 1 else f"{retry_after} seconds"
    return Refusal(code, error, f"Send it again in {seconds}.", {"retry-after": str(retry_after)})
