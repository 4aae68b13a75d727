"""Prints docs/settings.md: every setting, as settings.py declares it.

python -m orchestrator.commands.settings_page > docs/settings.md
"""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo

from orchestrator.programs.arguments import no_arguments
from orchestrator.settings import Settings, default_of

# A name that begins a row of a table is one that the chart's `settings` may have (templates/_checks.tpl).
HEAD = """# Settings

<!-- Written by `python -m orchestrator.commands.settings_page`: change orchestrator/settings.py, not this file. -->

Every program of the orchestrator reads them from the environment. An empty variable is the same as none.

| variable | default | limits | what it is |
|---|---|---|---|
"""

TAIL = """
## Of Triton's models

`restyle` reads these from the environment of Triton's process, to which `make up` hands its own on.

| variable | default | what it is |
|---|---|---|
| `REROOM_RELEASE` | required | The folder of the release; the stack and the containers set it. |
| `REROOM_PARTS_MB` | `256` | Megabytes for what was found in photos, kept for their next jobs; 0 = nothing is kept. |
| `REROOM_PARTS_SECONDS` | `600` | Seconds that it is kept without being used; six times as long at most. |

## Of the programs beside them

`make up` and `make demo` read `REROOM_DEVICE`, what the networks of the embedded Triton run on: `auto` (the default),
`cpu` or `cuda` ([on a GPU without containers](operate.md#on-a-gpu-without-containers)). `make up DEVICE=cuda` sets it
too.

They and the [containers](../docker/README.md) read `REROOM_REDIS_MAXMEMORY`, what Redis may hold in memory, such as
`512mb`; without it 1 GB. A full Redis refuses new jobs.

`python -m export release` reads `REROOM_RELEASES`, the folder in which [releases](releases.md) are published; without
it `releases` of the checkout.
"""


def page() -> str:
    """Markdown."""
    return HEAD + "".join(_row(field) for field in Settings.model_fields.values()) + TAIL


def _row(field: FieldInfo) -> str:
    default = "required" if field.is_required() else f"`{shown}`" if (shown := default_of(field)) else "none"
    cells = (f"`{field.validation_alias}`", default, _limits(field.metadata), _plain(field.description or ""))
    return f"| {' | '.join(cells)} |\n"


def _limits(metadata: list[Any]) -> str:
    """The limits of a number, or the least length of a secret."""
    signs = {"ge": "≥", "le": "≤", "gt": ">", "lt": "<"}
    found = [
        f"{sign} {getattr(each, name):g}"
        for each in metadata
        for name, sign in signs.items()
        if hasattr(each, name)
    ]
    found += [
        f"{each.min_length} characters or more" for each in metadata if getattr(each, "min_length", 0) > 1
    ]
    return ", ".join(found)


def _plain(description: str) -> str:
    """The description in one line, with code marked for Markdown."""
    return " ".join(description.split()).replace("``", "`").replace("|", "\\|")


def main() -> None:
    no_arguments("orchestrator.commands.settings_page", __doc__ or "")
    print(page(), end="")


if __name__ == "__main__":
    main()
