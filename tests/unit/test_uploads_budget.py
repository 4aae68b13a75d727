from __future__ import annotations

import pytest

from orchestrator.api.errors import Problem
from orchestrator.api.forms import FORM_OVERHEAD, UploadBudget
from orchestrator.app import UPLOADS_AT_ONCE, upload_budget
from orchestrator.settings import Settings


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


@pytest.mark.parametrize("processes", [1, 2, UPLOADS_AT_ONCE, 64])
def test_several_processes_share_what_one_would_hold(processes: int) -> None:
    settings = Settings.model_validate({"signing_key": "a key of some length", "api_processes": processes})
    largest = settings.max_upload_bytes + FORM_OVERHEAD
    budget = upload_budget(settings)
    assert budget >= largest, "or no process could take the largest upload"
    assert processes * budget <= max(UPLOADS_AT_ONCE * settings.max_upload_bytes, processes * largest)
