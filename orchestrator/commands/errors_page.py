"""Prints docs/errors.md: every code of an error, as domain/codes.py declares it.

python -m orchestrator.commands.errors_page > docs/errors.md
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from orchestrator.domain.codes import FailureCode, ProblemCode
from orchestrator.programs.arguments import no_arguments

HEAD = """# Errors

<!-- Written by `python -m orchestrator.commands.errors_page`: change orchestrator/domain/codes.py, not this file. -->

Every refusal of the API is a problem detail (RFC 9457), `application/problem+json`:

```json
{"type": "about:blank", "title": "Unprocessable Content", "status": 422, "code": "invalid_preferences",
 "detail": "Expected `int` <= 100", "instance": "/transform/submit", "field": "preferences.steps"}
```

Programs should look at `code`, which stays the same; `detail` is for people and may be reworded. `field`, where it is
there, names the part of the request. Codes may be added: treat one that you do not know by its status. With a 402, 429
or 503, `Retry-After` gives the seconds to wait before another try.
"""
FAILURES = """
## Why a job failed

The status and the last message of a failed job have an `error` with `code` and `detail`.

"""
GROUPS = {
    "The photo": ProblemCode.ANIMATED_IMAGE,
    "The request": ProblemCode.UNKNOWN_STYLE,
    "Jobs, pictures and uploads": ProblemCode.JOB_NOT_FOUND,
    "Rights": ProblemCode.UNAUTHORIZED,
    "The service": ProblemCode.QUEUE_FULL,
}
"""The first code of each section of the page."""


def page() -> str:
    """Markdown."""
    codes = list(ProblemCode)
    places = [*(codes.index(first) for first in GROUPS.values()), len(codes)]
    text = HEAD
    for title, (begin, end) in zip(GROUPS, pairwise(places), strict=True):
        rows = ((f"`{c}`", ", ".join(map(str, c.statuses)), c.meaning, c.remedy) for c in codes[begin:end])
        text += f"\n## {title}\n\n{_table(('code', 'status', 'means', 'what to do'), rows)}"
    failures = ((f"`{code}`", code.meaning, code.remedy) for code in FailureCode)
    return text + FAILURES + _table(("code", "means", "what to do"), failures)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cells)} |\n" for cells in (head, *rows)]
    return "".join([lines[0], "|---" * len(head), "|\n", *lines[1:]])


def main() -> None:
    no_arguments("orchestrator.commands.errors_page", __doc__ or "")
    print(page(), end="")


if __name__ == "__main__":
    main()
