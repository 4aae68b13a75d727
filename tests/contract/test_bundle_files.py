"""Bundle files: what they take from a base, and that all their mistakes are told at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from export import bundle as bundles
from export.bundle import KNOWN_NETWORKS, Bundle, BundleError, Lora, Weights, load_bundle
from export.sources.wanted import wanted_files

TINY = (bundles.BUNDLES / "tiny.toml").read_text()
COMMIT = "0" * 40


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundle files with ``tiny`` in it."""
    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.setattr(bundles, "BUNDLES", tmp_path)
    return tmp_path


def mine(folder: Path, text: str) -> Bundle:
    (folder / "mine.toml").write_text(f'name = "mine"\nbase = "tiny"\n{text}')
    return load_bundle("mine")


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(BundleError) as caught:
        mine(folder, text)
    lines = str(caught.value).splitlines()
    assert all(line.startswith("mine.toml: ") for line in lines), lines
    return [line.removeprefix("mine.toml: ") for line in lines]


def test_what_a_file_leaves_out_comes_from_its_base(folder: Path) -> None:
    tiny = load_bundle("tiny")
    bundle = mine(
        folder,
        """description = "another"
defaults = { steps = 3 }
schedule = { prediction = "v_prediction" }
loras = [{ path = "a.safetensors", scale = 0.5 }, { path = "/b.safetensors" }]
[networks]
vae = { path = "mine/vae" }
""",
    )
    assert (bundle.description, bundle.native_size, bundle.seed) == ("another", 128, tiny.seed)
    assert (bundle.defaults.steps, bundle.defaults.solver) == (3, tiny.defaults.solver)
    assert (bundle.schedule.prediction, bundle.schedule.beta_end) == ("v_prediction", 0.012)
    assert bundle.networks == tiny.networks | {"vae": Weights(path="mine/vae")}
    assert bundle.loras == [Lora(path="a.safetensors", scale=0.5), Lora(path="/b.safetensors", scale=1.0)]
    assert [lora.file for lora in bundle.loras] == [folder / "a.safetensors", Path("/b.safetensors")]


def test_a_base_may_have_a_base(folder: Path) -> None:
    mine(folder, 'max_batch_size = 3\ndescription = "first"')
    (folder / "yours.toml").write_text('name = "yours"\nbase = "mine"\ndescription = "second"')
    bundle = load_bundle("yours")
    assert (bundle.name, bundle.description, bundle.max_batch_size) == ("yours", "second", 3)


def test_a_single_file_has_the_configuration_of_the_network_in_the_base(folder: Path) -> None:
    single = '[networks]\nunet = { path = "mine.safetensors" }'
    tiny = load_bundle("tiny").networks["unet"]
    assert mine(folder, single).networks["unet"] == Weights(path="mine.safetensors", like=tiny)
    (folder / "yours.toml").write_text(
        'name = "yours"\nbase = "mine"\n' + single.replace("mine.saf", "yours.saf")
    )
    assert load_bundle("yours").networks["unet"] == Weights(path="yours.safetensors", like=tiny)
    (folder / "tiny.toml").write_text(
        TINY.replace("[networks.depth]\nredraw = 0.1", "", 1).replace(
            "[networks.depth.config]", '[networks.depth]\npath = "depth.safetensors"\n[ignored]', 1
        )
    )
    with pytest.raises(BundleError, match=r"depth is the single file depth\.safetensors, .*: name a base"):
        load_bundle("tiny")


def test_a_base_that_is_missing_or_the_bundle_itself(folder: Path) -> None:
    (folder / "mine.toml").write_text('name = "mine"\nbase = "sd16"')
    with pytest.raises(
        BundleError, match=r"^mine\.toml: base: there is no bundle 'sd16'; there are: mine, tiny$"
    ):
        load_bundle("mine")
    (folder / "mine.toml").write_text('name = "mine"\nbase = "yours"')
    (folder / "yours.toml").write_text('name = "yours"\nbase = "mine"')
    with pytest.raises(BundleError, match=r"^yours\.toml: base: 'mine' is based on this bundle itself$"):
        load_bundle("mine")


def test_every_network_that_a_bundle_can_name_can_come_from_a_hub() -> None:
    hub = Weights(repo="owner/name", revision=COMMIT)
    bundle = msgspec.structs.replace(
        load_bundle("tiny"), networks=dict.fromkeys(KNOWN_NETWORKS, hub), tokenizer=hub
    )
    (wanted,) = wanted_files(bundle).values()
    assert {"config.json", "model.safetensors", "diffusion_pytorch_model.safetensors"} <= set(wanted.needed)


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    assert problems(
        folder,
        f"""max_batch_size = 1
quality_threshold = nan
colour = "red"
loras = [{{ scale = 1.0 }}]
defaults = {{ control_scale = [1.0], steps = "many" }}
[networks]
unet = {{ repo = "owner/name" }}
vae = {{ repo = "owner/name", revision = "{COMMIT}", path = "vae" }}
text_encoder = {{ path = "text", input_size = [64, 64] }}
depth = {{ subfolder = "depth" }}
detector = {{ path = 7 }}
lamp = {{ path = "lamp" }}
""",
    ) == [
        "every number must be finite, not nan - at `$.quality_threshold`",
        "Object contains unknown field `colour`",
        "Expected `int` >= 2 - at `$.max_batch_size`",
        "Expected `str | null`, got `int` - at `$.networks.detector.path`",
        "Expected `int`, got `str` - at `$.defaults.steps`",
        "Expected `array` of length 2, got 1 - at `$.defaults.control_scale`",
        f"there is no network lamp; there are: {', '.join(KNOWN_NETWORKS)}",
        "unet comes from owner/name at no fixed revision: name its commit",
        "vae has repo and path: give one of repo, path and config",
        "text_encoder has input_size, which is for depth, detector, segments only",
        "depth has no source: give one of repo, path and config",
        "loras: give a LoRA either path, or repo, revision and filename",
    ]


def test_mistakes_of_tiers_and_variants_are_told(folder: Path) -> None:
    assert problems(
        folder,
        """quality = "standard"
styles = { japandi = "oak" }
variants = { "Few Steps" = { loras = [{ repo = "owner/name", filename = "a" }] }, none = { loras = [] } }
[tiers.draft]
variant = "fast"
decoder = "tiny_decoder"
[tiers.fine]
[tiers.best]
guidance_interval = [-1.0, 2.0]
steps = "many"
""",
    ) == [
        "Expected `array` of length >= 1 - at `$.variants.none.loras`",
        "Invalid enum value 'fine' - at `$.tiers (a name)`",
        "Expected `int`, got `str` - at `$.tiers.best.steps`",
        "Expected `float` >= 0.0 - at `$.tiers.best.guidance_interval[0]`",
        "variants.Few Steps: the LoRA of owner/name needs revision, the commit, and filename",
        "variants: 'Few Steps' is no name: give it small letters, digits and _",
        "styles.japandi: there is no variant 'oak'; variants: Few Steps, none",
        "quality is 'standard': name the tier of requests that ask for none, one of draft, fine, best",
        "tiers.draft: there is no variant 'fast'; variants: Few Steps, none",
    ]


def test_tiers_change_the_defaults_and_are_inherited_as_a_whole(folder: Path) -> None:
    base = mine(folder, "defaults = { control_scale = [0.5, 0.5] }")
    assert base.usual == ("best", base.defaults)
    draft, standard = base.kinds["draft"], base.kinds["standard"]
    assert (draft.solver, draft.steps, draft.variant, draft.control_scale) == (
        "lcm",
        4,
        "few_step",
        (0.5, 0.5),
    )
    assert (standard.guidance_scale, standard.guidance_interval) == (7.5, (0.28, 5.42))
    plain = mine(folder, "tiers = {}\nvariants = {}")
    assert (plain.usual, list(plain.kinds)) == ((None, plain.defaults), [None])


def test_the_licences_of_a_base_stay(folder: Path) -> None:
    text = (folder / "tiny.toml").read_text()
    base = '[[licences]]\nname = "A"\nurl = "a"\nnetworks = ["unet"]\n'
    (folder / "tiny.toml").write_text(text + base)
    assert [licence.name for licence in mine(folder, "").licences] == ["A"]
    more = base + base.replace('"A"', '"B"')
    assert [licence.name for licence in mine(folder, more).licences] == ["A", "B"]
    assert problems(folder, base.replace("unet", "safety_checker")) == [
        f"licences: there is no network safety_checker; there are: {', '.join(KNOWN_NETWORKS)}, tokenizer, few_step"
    ]
