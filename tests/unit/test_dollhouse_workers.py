"""Two processes train as one: gradients are averaged, and the first decides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dollhouse.train.workers import ALONE, start_others

MEMBER = """
import sys
from pathlib import Path
import torch
from dollhouse.train.workers import join
rank = int(sys.argv[1])
workers = join(rank, 2, Path(sys.argv[2]))
gradients = [torch.full((2, 3), float(rank)), torch.full((4,), 10.0 * rank)]
workers.average(gradients)
print(workers.first, [float(g.mean()) for g in gradients], list(gradients[0].shape), workers.agree(rank + 7.0))
"""


@pytest.mark.timeout(120)
def test_two_workers_have_the_mean_of_their_gradients_and_the_first_ones_value(tmp_path: Path) -> None:
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [member.communicate(timeout=100)[0].strip() for member in members]
    assert outputs == ["True [0.5, 5.0] [2, 3] 7.0", "False [0.5, 5.0] [2, 3] 7.0"]


def test_alone_nothing_is_shared() -> None:
    gradient = torch.ones(3)
    ALONE.average([gradient])
    assert gradient.tolist() == [1.0, 1.0, 1.0]
    assert (ALONE.first, ALONE.agree(0.3)) == (True, 0.3)


def test_a_meeting_that_is_over_is_not_met_again(tmp_path: Path) -> None:
    """gloo would wait for members that are gone."""
    meeting = tmp_path / "run" / "meeting"
    meeting.parent.mkdir()
    meeting.write_text("of an earlier run")
    assert start_others("no.module", [], 1, meeting) == []
    assert not meeting.exists()
