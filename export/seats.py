"""The two seats of the denoiser: which ControlNets sit there, and which pictures (hints) they are shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

SEATS = {
    "controlnet_depth": "depth",
    "controlnet_canny": "edges",
    "controlnet_lines": "lines",
    "controlnet_segments": "segments",
}
"""What each ControlNet is shown. The denoiser's inputs have these names."""

HINTS = tuple(SEATS.values())

DEFAULT_HINTS = ("depth", "edges")
"""The hints of a release that names none."""

CONTROLNETS = {hint: network for network, hint in SEATS.items()}
"""The ControlNet of each hint."""


def chosen_hints(networks: Collection[str], hints: Sequence[str] | None) -> tuple[str, str]:
    """The hints of the two seats, in the order of the seats: those that a bundle names, else those of its ControlNets
    in the order of :data:`SEATS`.

    Raises ValueError with one sentence when they are not two, or a ControlNet is missing.
    """
    there = [hint for network, hint in SEATS.items() if network in networks]
    if hints is None:
        if len(there) > 2:
            raise ValueError(
                f"there are ControlNets for {_and(there)}, and the denoiser has two seats: say which two it shows, "
                f"such as hints = {_toml(there[:2])}"
            )
        if len(there) < 2:
            found = f"only {CONTROLNETS[there[0]]}" if there else "no ControlNet"
            raise ValueError(f"there is {found}: the denoiser needs two of {', '.join(SEATS)}")
        return there[0], there[1]
    if len(hints) != 2 or hints[0] == hints[1]:
        raise ValueError(f"hints is {_toml(hints)}: name two different ones of {', '.join(HINTS)}")
    for hint in hints:
        if hint not in HINTS:
            raise ValueError(f"hints names {hint}, and there is no such hint; there are: {', '.join(HINTS)}")
        if hint not in there:
            raise ValueError(f"hints names {hint}, and there are no weights for {CONTROLNETS[hint]}")
    return hints[0], hints[1]


def _and(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _toml(words: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
