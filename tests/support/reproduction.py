"""What it means that a release is made again: byte for byte, but for what measuring and writing added to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.contract import Sizes, graph_specs
from export.digests import sha256
from export.graphs.making import Made
from export.releases.checksums import CHECKED, MANIFEST
from export.releases.folder import LIVE, PROFILE, REPORTS, live_document
from export.releases.trying import RECORDED
from tests.support.releases import read_document

TINY = Path(__file__).parents[2] / "releases" / "tiny"

SIZES = Sizes(
    native_size=128,
    vae_factor=8,
    unet_factor=2,
    latent_channels=4,
    text_width=32,
    objects=8,
    max_batch_size=8,
)
GRAPHS = list(graph_specs(SIZES))
"""Of every release."""
TINY_GRAPHS = [*GRAPHS, "tiny_decoder", "denoiser_few_step"]
"""Of the release of `tiny`."""

WRITTEN = {"training.json", PROFILE, CHECKED, MANIFEST, RECORDED}
"""Names of files that are added to a release after its export, or say what it is made of: they have digests of what was
measured, or are a picture, whose last bits are the machine's. Releases of before have no picture."""

MEASURED = set(REPORTS)
"""Names of files that hold what the exporting machine measured."""


def assert_reproduced(made: Path, committed: Path) -> None:
    """``made``, a release of one version, is the live one of ``committed``: same weights, same graphs, same tokenizer,
    wherever the versions' numbers put them; and the same release.json but for these numbers and for its parity figures,
    whose last digits are those of the machine that measured them."""
    ours, theirs = _files(made), _files(committed)
    assert set(ours) == set(theirs)
    for name in ours:
        if name not in MEASURED:
            assert ours[name].read_bytes() == theirs[name].read_bytes(), name
    assert _without_measurements(made) == _without_measurements(committed)
    # Nothing but what the live version names.
    assert {path for path in made.rglob("*") if path.is_file()} == {
        *ours.values(),
        made / LIVE,
        live_document(made),
        *(live_document(made).with_name(name) for name in (CHECKED, MANIFEST, RECORDED)),
    }


def committed_graph(name: str, folder: Path | None = None) -> tuple[Made, Path]:
    """What :func:`export.graphs.making.make_graph` returns for a graph of `tiny`, without making it: the committed one,
    or that in ``folder``."""
    folder = folder or TINY / "models" / name / "1"
    facts = read_document(TINY)["models"][name]
    return Made(
        graph=name,
        precision="fp32",
        stored="fp32",
        sha256={file.name: sha256(file) for file in folder.iterdir()},
        bytes=facts["bytes"],
        parity=facts["parity"],
        share=dict.fromkeys(facts["parity"], 0.5),
        rounding={},
        folded=facts["folded"],
        seconds=1.0,
        peak_bytes=1,
    ), folder


def _files(release: Path) -> dict[str, Path]:
    """The files of the live version that an export wrote, but for release.json, by a name without numbers."""
    document, versions = read_document(release), live_document(release).parent
    found = {file.name: file for file in versions.iterdir() if file.name not in {*WRITTEN, "release.json"}}
    for model, facts in document["models"].items():
        folder = release / "models" / model
        found[f"{model}/config.pbtxt"] = folder / "config.pbtxt"
        found |= {f"{model}/{name}": folder / str(facts["version"]) / name for name in facts["sha256"]}
    return found


def _without_measurements(release: Path) -> dict[str, Any]:
    document = read_document(release)
    assert set(document["models"]) >= set(GRAPHS)
    for facts in document["models"].values():
        del facts["parity"], facts["version"]
    return document
