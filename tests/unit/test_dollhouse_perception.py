"""The dollhouse's perception networks and the figures that they are measured by."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dollhouse import metrics
from dollhouse.data.augmentation import draw
from dollhouse.data.dataset import Dataset, RenderSettings, make_dataset
from dollhouse.data.hints import depth_bytes
from dollhouse.metrics import Detections
from dollhouse.render.rooms import LABELS, STYLES
from dollhouse.train import depth, detector, perception
from dollhouse.train import style_classifier as classifier
from dollhouse.train.loop import Limit
from export.bundle import BundleError, Weights, load_bundle
from export.contract import Sizes, graph_specs
from export.graphs.onnx import export_onnx
from export.networks.centres import CentresForObjectDetection, fold
from export.networks.load import load_networks
from export.proofs.parity import check_outputs, references
from tests.support.dollhouse import CPU, DEPTH, DETECTOR

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CLASSIFIER = classifier.StyleClassifierSettings(side=32, widths=(8, 8), batch=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("data"), "train", 4, RenderSettings(side=64), shard_rooms=4)


def found(*rows: tuple[list[float], int, float]) -> Detections:
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    return Detections(
        boxes, np.array([row[1] for row in rows], np.int64), np.array([row[2] for row in rows], np.float32)
    )


LEFT, RIGHT, NOWHERE = [0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0], [0.6, 0.0, 0.9, 0.3]


TRUTHS = [found((LEFT, 0, 1), (RIGHT, 0, 1)), found((RIGHT, 1, 1))]
NONE, SECOND = found(), found((RIGHT, 1, 1))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (TRUTHS, (1.0, 1.0)),
        ([NONE, NONE], (0.0, 0.0)),
        # Right, wrong, right: precision 1 up to recall 1/2, then 2/3.
        ([found((LEFT, 0, 0.9), (NOWHERE, 0, 0.8), (RIGHT, 0, 0.7)), SECOND], (0.5 + 0.5 * 2 / 3, 1.0)),
        # Finding an object twice is finding it once and being wrong once.
        ([found((LEFT, 0, 0.9), (LEFT, 0, 0.8), (RIGHT, 0, 0.7)), SECOND], (0.5 + 0.5 * 2 / 3, 1.0)),
        # An answer counts for its own picture and label only.
        ([found((LEFT, 1, 0.9)), found((LEFT, 0, 0.9))], (0.0, 0.0)),
        # An overlap of half counts, less does not.
        ([found(([0.0, 0.0, 0.4, 0.21], 0, 1)), NONE], (0.5, 0.0)),
        ([found(([0.0, 0.0, 0.4, 0.19], 0, 1)), NONE], (0.0, 0.0)),
    ],
)
def test_average_precision_by_hand(answers: list[Detections], expected: tuple[float, float]) -> None:
    assert metrics.average_precisions(answers, TRUTHS) == pytest.approx(dict(enumerate(expected)))


def test_rare_labels_are_left_out_of_the_mean() -> None:
    truths = [found((LEFT, 0, 1)), found((LEFT, 0, 1), (RIGHT, 1, 1))]
    answers = [found((LEFT, 0, 1)), found((LEFT, 0, 1))]
    assert metrics.detector_map50(answers, truths, least=1) == 0.5
    assert metrics.detector_map50(answers, truths, least=2) == 1.0


@pytest.fixture
def metres() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(1.0, 6.0, (32, 32)).astype(np.float32)


def test_absrel_ignores_scale_and_shift_of_inverse_depth(metres: NDArray[np.float32]) -> None:
    for scale, shift in ((1.0, 0.0), (40.0, 7.0), (0.01, -3.0)):
        assert metrics.depth_absrel(scale / metres + shift, metres) < 1e-4
    assert metrics.depth_absrel(depth_bytes(metres), metres) < 0.01
    wrong = metrics.depth_absrel(np.random.default_rng(1).random(metres.shape), metres)
    assert wrong > 0.3
    assert metrics.depth_absrel(np.ones_like(metres), metres) == pytest.approx(wrong, rel=0.1)


def test_depth_rank_knows_near_from_far() -> None:
    ramp = np.tile(np.linspace(1, 5, 64, dtype=np.float32)[:, None], (1, 64))
    near = depth_bytes(ramp)
    assert metrics.depth_rank(near, ramp) > 0.99
    assert metrics.depth_rank(255 - near, ramp) == 0.0


def test_edge_f1_forgives_two_pixels_and_not_six() -> None:
    picture = np.full((256, 256, 3), 40, np.uint8)
    picture[80:180, 60:200] = 200
    truth = np.zeros((256, 256), np.uint8)
    truth[[79, 179], 60:200] = 255
    truth[80:180, [59, 199]] = 255
    assert metrics.edge_f1(picture, truth) > 0.98
    assert metrics.edge_f1(picture, np.roll(truth, 1, 1)) > 0.98
    assert metrics.edge_f1(picture, np.roll(truth, (6, 6), (0, 1))) < 0.2
    assert metrics.edge_f1(np.full_like(picture, 90), truth) == 0.0


def test_room_types_come_from_what_is_sure_enough() -> None:
    bed, desk = LABELS.index("bed"), LABELS.index("desk")
    answers = [found((LEFT, bed, 0.9), (RIGHT, desk, 0.2)), found((LEFT, desk, 0.8)), found((LEFT, bed, 0.1))]
    types = ["bedroom", "office", "bedroom"]
    assert metrics.room_type_accuracy(answers, types, 0.3) == pytest.approx(2 / 3)
    assert metrics.style_accuracy(["boho", "modern"], ["boho", "boho"]) == 0.5


def test_every_label_of_every_room_can_be_answered_from_its_targets(dataset: Dataset) -> None:
    network = detector.build_detector(DETECTOR).eval()
    layers = torch.tensor(network.config.layers)
    drawn = draw(dataset, 4, np.random.default_rng(3))
    boxes, labels = detector.objects_of(dataset, drawn)
    cells = 64
    aim = detector.targets(boxes, labels, layers, len(LABELS), cells, cells)
    # A network that answers its targets exactly: the owner's box in every cell.
    owned = torch.cat([boxes, torch.zeros(4, 1, 4)], 1)
    room = torch.arange(4).view(-1, 1, 1, 1).expand_as(aim.owner)
    made = owned[room, aim.owner].permute(0, 1, 4, 2, 3)
    module = detector.as_module(network, 48, 0.99)
    answers = [
        Detections(b[s > 0].numpy(), n[s > 0].numpy(), s[s > 0].numpy())
        for b, s, n in zip(*module.pick(aim.heat.clamp(1e-6, 1 - 1e-6).logit(), made), strict=True)
    ]
    truths = [
        Detections(b[n >= 0].numpy(), n[n >= 0].numpy(), np.ones(int((n >= 0).sum()), np.float32))
        for b, n in zip(boxes, labels, strict=True)
    ]
    assert metrics.detector_map50(answers, truths, least=1) > 0.9
    totals = torch.zeros(4, boxes.shape[1] + 1).scatter_add_(1, aim.owner.flatten(1), aim.weight.flatten(1))
    assert totals[:, :-1].max() <= 1.0 + 1e-4


def test_boxes_that_fit_cost_nothing() -> None:
    boxes = torch.tensor([LEFT, RIGHT])
    weight = torch.tensor([1.0, 3.0])
    assert detector.box_loss(boxes, boxes, weight) == pytest.approx(0.0, abs=1e-6)
    assert detector.box_loss(boxes, boxes.flip(0), weight) > 1.0


def test_depth_loss_ignores_scale_and_shift(metres: NDArray[np.float32]) -> None:
    truth = torch.from_numpy(metres)[None]
    exact = depth.depth_losses(3.0 / truth - 1.0, truth, 0.5)["loss"]
    assert exact < 1e-4
    assert depth.depth_losses(truth, truth, 0.5)["loss"] > 0.5


def test_folding_changes_no_answer() -> None:
    network = detector.build_detector(DETECTOR)
    # Statistics and factors that are not those of a fresh layer.
    network.train()(pixel_values=torch.randn(4, 3, 64, 64) * 2 + 1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    pictures = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for before, after in zip(network.eval()(pictures), fold(network)(pictures), strict=True):
            torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_folding_the_depth_model_changes_no_answer() -> None:
    network = depth.build_depth(DEPTH)
    network.train()(pixel_values=torch.randn(4, 3, 32, 32) * 2 + 1)
    pictures = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = network.eval()(pixel_values=pictures).predicted_depth
        after = depth.fold(network)(pixel_values=pictures).predicted_depth
    assert before.std() > 1e-3
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_the_detector_trains_resumes_and_loads(dataset: Dataset, tmp_path: Path) -> None:
    detector.train_detector(dataset, tmp_path, DETECTOR, Limit(steps=2), CPU)
    network = detector.train_detector(dataset, tmp_path, DETECTOR, Limit(steps=3), CPU)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
    network.save_pretrained(tmp_path / "network")
    loaded = CentresForObjectDetection.from_pretrained(tmp_path / "network").eval()
    image = torch.from_numpy(dataset.picture(0, 0))[None]
    for first, second in zip(
        *(detector.as_module(n, 8)(image) for n in (network, loaded)),
        strict=True,
    ):
        assert torch.equal(first, second)


@pytest.mark.filterwarnings("ignore")  # torch announces every fallback of its exporter.
def test_a_folded_detector_keeps_the_contract_as_onnx(tmp_path: Path) -> None:
    sides = {"native_size": 64, "vae_factor": 4, "unet_factor": 4, "latent_channels": 4, "text_width": 8}
    spec = graph_specs(Sizes(**sides, objects=6, max_batch_size=4))["detector"]
    network = fold(detector.build_detector(DETECTOR)).requires_grad_(False)
    module = detector.as_module(network, 6, 0.0).eval()
    cases = references(module, spec)
    export_onnx(module, spec, tmp_path / "detector.onnx")
    check_outputs(spec, tmp_path / "detector.onnx", cases)


def test_what_is_trained_is_measured_and_loads_into_a_bundle(dataset: Dataset, tmp_path: Path) -> None:
    preset = perception.Preset(DEPTH, DETECTOR, CLASSIFIER, dict.fromkeys(perception.TRAINERS, 0.002))
    for _, train in perception.TRAINERS.values():
        train(tmp_path, preset, dataset, dataset, CPU)
    figures = msgspec.json.decode((tmp_path / "networks" / "perception.json").read_bytes())
    assert set(figures) == {
        "depth_absrel",
        "depth_rank_of_renders",
        "detector_map50",
        "room_type_accuracy",
        "classifier_accuracy",
    }
    tiny = load_bundle("tiny")
    ours = {name: Weights(path=str(tmp_path / "networks" / name)) for name in ("depth", "detector")}
    networks = load_networks(msgspec.structs.replace(tiny, networks=tiny.networks | ours))
    assert isinstance(networks["detector"], CentresForObjectDetection)
    assert networks["detector"].config.id2label[4] == LABELS[4]
    assert networks["depth"].config.image_size == DEPTH.side
    depths = depth.as_module(networks["depth"])(torch.from_numpy(dataset.picture(0, 1))[None])
    assert (depths.shape, int(depths.min()), int(depths.max())) == ((1, 64, 64), 0, 255)
    named = classifier.load_classifier(tmp_path / "classifier").name_styles(dataset.pictures([0, 1], [2, 3]))
    assert set(named) <= set(STYLES)


def test_an_unknown_detector_is_refused() -> None:
    tiny = load_bundle("tiny")
    odd = {"detector": Weights(config={"model_type": "detr"})}
    with pytest.raises(BundleError, match="detr is none of yolos, centres"):
        load_networks(msgspec.structs.replace(tiny, networks=tiny.networks | odd))
