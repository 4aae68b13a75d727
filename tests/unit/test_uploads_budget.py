from __future__ import annotations

import pytest

from orchestrator.api.errors import Problem
from orchestrator.api.forms import UploadBudget


def test_uploads_share_the_budget_and_give_it_back() -> None:
    budget = UploadBudget(10)
    with budget.hold() as first:
        first(6)
        with budget.hold() as second:
            second(4)
            with pytest.raises(Problem) as caught:
                second(1)
        assert (caught.value.status, caught.value.code) == (503, "unavailable")
        first(4)
    with budget.hold() as third:
        third(10)
