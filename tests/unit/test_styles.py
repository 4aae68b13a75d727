from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from orchestrator.domain.styles import DEFAULT_STYLE, STYLES, load_styles


def test_the_five_styles_of_the_replaced_service() -> None:
    assert list(STYLES)[:5] == ["modern", "scandinavian", "boho", "industrial", "minimalist"]
    assert DEFAULT_STYLE in STYLES
    assert all(style.title and style.prompt and style.negative_prompt for style in STYLES.values())


def test_a_misspelt_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "styles.toml"
    path.write_text('[x]\ntitle = "X"\nprompt = "x"\nnegative = "y"\nnegative_prompt = ""\n')
    with pytest.raises(msgspec.ValidationError, match="negative"):
        load_styles(path)
