"""The dollhouse's data on disk: shards that are whole, resumed, and what the renderer made."""

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dollhouse.data.augmentation import draw, mirror, photos
from dollhouse.data.dataset import SPLITS, Dataset, RenderSettings, make_dataset, make_shard, open_dataset
from dollhouse.data.pairs import SOURCES, pairs_of
from dollhouse.render.rooms import LABELS, NO_WISH, STYLES, picture, render, restyle, sample_rooms, trace_view

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MAKING = RenderSettings(side=32)
SHARD = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder, "held_out", 4, MAKING, shard_rooms=SHARD)
    return folder


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return open_dataset(folder, "held_out")


def test_a_dataset_holds_what_the_renderer_makes(dataset: Dataset) -> None:
    assert len(dataset) == 4
    for index, style in ((1, 0), (3, 4)):
        shot = render(sample_rooms([dataset.seed(index)]), [STYLES[style]], MAKING.side)
        np.testing.assert_array_equal(dataset.picture(index, style), shot.image[0])
        np.testing.assert_allclose(dataset.depth(index), shot.depth[0], rtol=1e-3)
        np.testing.assert_array_equal(dataset.edges(index), shot.edges[0])
        assert dataset.room_type(index) == shot.room_types[0]
        boxes, labels = dataset.objects(index)
        assert [LABELS[label] for label in labels] == [seen.label for seen in shot.objects[0]]
        np.testing.assert_array_equal(boxes, np.array([seen.box for seen in shot.objects[0]], np.float32))


def test_targets_are_the_rooms_restyled_as_their_pairs_say(dataset: Dataset) -> None:
    view = trace_view(sample_rooms([dataset.seed(2)]), MAKING.side)
    pairs = dataset.pairs(2)
    assert {pair.source for pair in pairs} == set(range(len(SOURCES)))
    for number in (0, 5, len(pairs) - 1):
        source, style, wish = pairs[number]
        found = SOURCES[source]
        np.testing.assert_array_equal(dataset.source(2, source), picture(view, [found])[0])
        np.testing.assert_array_equal(dataset.target(2, number), restyle(view, [found], [style], [wish])[0])


def test_another_process_gets_the_files_and_not_their_content(dataset: Dataset) -> None:
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 2000
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy.target(3, 1), dataset.target(3, 1))


def test_pairs_wish_for_nothing_for_palettes_for_walls_and_for_sofas() -> None:
    pairs = [pair for seed in range(60) for pair in pairs_of(seed)]
    assert pairs_of(7) == pairs_of(7) != pairs_of(8)
    assert {pair.style for pair in pairs} == set(STYLES)
    shares = [
        np.mean([bool(pair.wish.palette) for pair in pairs]),
        np.mean([pair.wish.walls is not None for pair in pairs]),
        np.mean([pair.wish.sofa is not None for pair in pairs]),
        np.mean([pair.wish == NO_WISH for pair in pairs]),
    ]
    assert shares == pytest.approx([0.4, 0.15, 0.1, 0.35], abs=0.06)
    assert {len(pair.wish.palette) for pair in pairs} == {0, 1, 2, 3}


def test_splits_share_no_room(dataset: Dataset) -> None:
    ranges = sorted(SPLITS.values(), key=lambda seeds: seeds.start)
    assert all(first.stop <= second.start for first, second in pairwise(ranges))
    assert [dataset.seed(i) for i in range(4)] == list(SPLITS["held_out"][:4])


def test_a_stopped_run_goes_on_and_makes_the_same_bytes(folder: Path, dataset: Dataset) -> None:
    first, second = (folder / "held_out" / f"shard-0000{n}" for n in (0, 1))
    before, kept = dataset.picture(3, 2), (first / "images.npy").stat().st_mtime_ns
    second.rename(folder / "lost")
    assert len(open_dataset(folder, "held_out")) == 2
    counts: list[tuple[int, int]] = []
    again = make_dataset(
        folder, "held_out", 4, MAKING, report=lambda a, b: counts.append((a, b)), shard_rooms=SHARD
    )
    assert counts == [(2, 2)]
    assert (first / "images.npy").stat().st_mtime_ns == kept
    np.testing.assert_array_equal(again.picture(3, 2), before)


def test_a_shard_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        make_shard(tmp_path, "train", 0, MAKING, device="no such device", shard_rooms=1)
    assert list((tmp_path / "train").iterdir()) == []


def test_a_shard_that_another_process_finished_stays(folder: Path) -> None:
    shard = folder / "held_out" / "shard-00000"
    before = (shard / "seeds.npy").stat().st_mtime_ns
    assert make_shard(folder, "held_out", 0, MAKING, shard_rooms=SHARD) == shard
    assert (shard / "seeds.npy").stat().st_mtime_ns == before


def test_shards_made_in_another_way_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="side 32"):
        make_dataset(folder, "held_out", 4, RenderSettings(side=64), shard_rooms=SHARD)


def test_missing_rooms_are_named(folder: Path, dataset: Dataset) -> None:
    with pytest.raises(FileNotFoundError, match="4 rooms of held_out; want 9"):
        open_dataset(folder, "held_out", rooms=9)
    assert len(open_dataset(folder, "held_out", rooms=2)) == 2
    with pytest.raises(FileNotFoundError, match="0 rooms of train"):
        open_dataset(folder, "train")
    for index in (-1, 4):
        with pytest.raises(IndexError):
            dataset.picture(index, 0)


def test_a_draw_mirrors_pictures_and_truths_alike(dataset: Dataset) -> None:
    drawn = draw(dataset, 12, np.random.default_rng(0))
    assert len(set(drawn.mirrored)) == 2
    pictures = photos(dataset, drawn).numpy()
    depths = mirror(np.stack([dataset.depth(i) for i in drawn.indices]), drawn)
    for row, (index, style, mirrored) in enumerate(
        zip(drawn.indices, drawn.styles, drawn.mirrored, strict=True)
    ):
        picture, depth = dataset.picture(index, style), dataset.depth(index)
        np.testing.assert_array_equal(pictures[row], picture[:, ::-1] if mirrored else picture)
        np.testing.assert_array_equal(depths[row], depth[:, ::-1] if mirrored else depth)
