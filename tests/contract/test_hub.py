"""Fetching from a model hub: verified, continued after a kill, and refused in a sentence when anything is wrong."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from huggingface_hub import close_session, hf_hub_download
from rich.console import Console

from export import licences
from export.bundle import (
    BUNDLES,
    NETWORKS,
    Bundle,
    BundleError,
    Licence,
    Lora,
    Variant,
    Weights,
    load_bundle,
)
from export.licences import licence_facts, licence_lines, notice, write_notices
from export.networks.load import load_networks
from export.proofs.checks import check_schedule
from export.sources import fetch_progress
from export.sources.announcing import estimate, fetch_with_progress
from export.sources.hub import fetch_bundle, licence_texts, local_folders, plan_fetch, with_folders
from export.sources.hub_client import Hub
from export.sources.lock import Lock
from export.sources.wanted import wanted_files
from tests.conftest import ROOT
from tests.support.hub_server import Faults, HubServer, running_hub
from tests.support.programs import ran

COMMIT, OTHER = "5" * 39 + "a", "5" * 39 + "b"
PIPELINE = f"models--acme--pipeline/snapshots/{COMMIT}"
UNET = "unet/diffusion_pytorch_model.safetensors"
LARGE = 3_000_000

FETCH = """
import sys
from pathlib import Path
import msgspec
from export.bundle import Bundle
from export.sources.hub import fetch_bundle
from export.sources.hub_client import Hub
bundle = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Bundle)
fetch_bundle(bundle, hub=Hub(endpoint=sys.argv[2], cache=Path(sys.argv[3])), folder=Path(sys.argv[4]))
"""


def write_repositories(folder: Path) -> None:
    """A pipeline with what is wanted of it and what is not, and two repositories of one network each."""
    noise = hashlib.shake_128(b"weights").digest(LARGE)
    pipeline = {
        "unet/config.json": b'{"in_channels": 4}',
        UNET: noise,
        "unet/diffusion_pytorch_model.bin": b"a pickle",
        "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
        "vae/config.json": b'{"latent_channels": 4}',
        "vae/diffusion_pytorch_model.safetensors": noise[:5000],
        "safety_checker/model.safetensors": b"1.2 GB in truth",
        "scheduler/scheduler_config.json": b'{"beta_schedule": "scaled_linear"}',
        "tokenizer/tokenizer_config.json": b"{}",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"#version: 0.2\n",
        "LICENSE": b"You may.\n",
    }
    detector = {"config.json": b"{}", "model.safetensors": noise[:999], "preprocessor_config.json": b"{}"}
    for name, files in {"acme/pipeline": pipeline, "acme/detector": detector}.items():
        for file, content in files.items():
            path = folder / name / COMMIT / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def from_hub() -> Bundle:
    """``tiny``, with networks of the test's hub in some places."""

    def pipeline(subfolder: str) -> Weights:
        return Weights(repo="acme/pipeline", revision=COMMIT, subfolder=subfolder)

    tiny = load_bundle("tiny")
    networks = {
        **tiny.networks,
        "unet": pipeline("unet"),
        "vae": pipeline("vae"),
        "detector": Weights(repo="acme/detector", revision=COMMIT),
    }
    return msgspec.structs.replace(tiny, name="ours", networks=networks, tokenizer=pipeline("tokenizer"))


class Place(NamedTuple):
    """A hub, an empty cache and an empty folder of bundle files."""

    server: HubServer
    hub: Hub
    bundles: Path

    def fetch(self, bundle: Bundle | None = None, **changes: object) -> dict[str, Path]:
        hub = msgspec.structs.replace(self.hub, **changes)
        return fetch_bundle(bundle or from_hub(), hub=hub, folder=self.bundles)

    def refusal(self, bundle: Bundle | None = None, **changes: object) -> str:
        """The sentence with which a fetch is refused."""
        with pytest.raises(BundleError) as caught:
            self.fetch(bundle, **changes)
        sentence = str(caught.value)
        assert "\n" not in sentence
        return sentence

    @property
    def repository(self) -> Path:
        return self.server.folder / "acme" / "pipeline" / COMMIT

    @property
    def part(self) -> Path:
        """The file that is loaded so far."""
        name = hashlib.sha256((self.repository / UNET).read_bytes()).hexdigest()
        return self.hub.cache / "models--acme--pipeline" / "blobs" / f"{name}.reroom.incomplete"

    def cached(self, file: str = UNET) -> Path:
        return self.hub.cache / PIPELINE / file

    def start(self) -> subprocess.Popen[bytes]:
        """A fetch in a process of its own."""
        bundle = self.bundles / "bundle.json"
        bundle.write_bytes(msgspec.json.encode(from_hub()))
        command: list[str | Path] = [
            sys.executable,
            "-c",
            FETCH,
            bundle,
            self.hub.endpoint,
            self.hub.cache,
            self.bundles,
        ]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with running_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub
    close_session()


@pytest.fixture
def place(server: HubServer, tmp_path: Path) -> Place:
    shutil.rmtree(server.folder)
    write_repositories(server.folder)
    server.faults, server.log = Faults(), []
    (tmp_path / "bundles").mkdir()
    hub = Hub(
        endpoint=server.endpoint,
        cache=tmp_path / "cache",
        offline=False,
        waits=(0.01, 0.01),
        read_timeout=2.0,
    )
    return Place(server, hub, tmp_path / "bundles")


def test_the_files_that_are_needed_and_no_others_are_fetched_and_locked(place: Place) -> None:
    folders = place.fetch()
    assert folders == {
        "unet": place.hub.cache / PIPELINE / "unet",
        "vae": place.hub.cache / PIPELINE / "vae",
        "tokenizer": place.hub.cache / PIPELINE / "tokenizer",
        "detector": place.hub.cache / f"models--acme--detector/snapshots/{COMMIT}",
    }
    assert folders == local_folders(from_hub(), hub=place.hub)
    snapshot = place.hub.cache / PIPELINE
    fetched = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}
    assert fetched == {
        *("unet/config.json", UNET, "vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
        *("tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"),
        *("scheduler/scheduler_config.json", "LICENSE"),
    }
    lock = Lock.of("ours", place.bundles).files("acme/pipeline", COMMIT)
    assert set(lock) == fetched
    for file, known in lock.items():
        content = (place.repository / file).read_bytes()
        assert place.cached(file).read_bytes() == content
        assert (known.size, known.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert not list(place.hub.cache.rglob("*.incomplete"))


def test_loras_come_from_a_hub_too(place: Place) -> None:
    file = place.server.folder / "acme/lora" / COMMIT / "few/steps.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"low-rank matrices")
    lora = Lora(repo="acme/lora", revision=COMMIT, filename="few/steps.safetensors", scale=0.7)
    bundle = msgspec.structs.replace(from_hub(), variants={"few_step": Variant(loras=[lora])})
    folders = place.fetch(bundle)
    (near,) = with_folders(bundle, folders).variants["few_step"].loras
    assert (near.repo, near.scale, near.file.read_bytes()) == (None, 0.7, b"low-rank matrices")
    locked = Lock.of("ours", place.bundles).files("acme/lora", COMMIT)
    assert locked["few/steps.safetensors"].sha256 == hashlib.sha256(b"low-rank matrices").hexdigest()
    place.server.log.clear()
    assert place.fetch(bundle) == folders
    assert place.server.log == []
    moving = msgspec.structs.replace(lora, revision="main")
    assert (
        "LoRA acme/lora@main/few/steps.safetensors: revision 'main' of acme/lora can move"
        in place.refusal(msgspec.structs.replace(bundle, loras=[moving]))
    )


def test_the_estimate_counts_the_denoiser_once_for_each_variant(place: Place) -> None:
    def said(bundle: Bundle) -> str:
        return "\n".join(estimate(plan_fetch(bundle, hub=place.hub, folder=place.bundles)))

    plain = msgspec.structs.replace(from_hub(), variants={})
    assert "3.01 MB of disk for the release" in said(plain)
    two = {name: Variant(loras=[Lora(path="lora.safetensors")]) for name in ("few_step", "other")}
    # The UNet is 3 MB, and its configuration some bytes.
    assert "9.01 MB of disk for the release" in said(msgspec.structs.replace(plain, variants=two))


def test_a_warm_cache_asks_nobody(place: Place) -> None:
    place.fetch()
    place.server.log.clear()
    assert place.fetch() == place.fetch(offline=True)
    assert place.server.log == []


def test_other_tools_share_the_cache(place: Place) -> None:
    """Who has the weights does not load them twice, and the other way round."""
    hf_hub_download(
        "acme/pipeline", UNET, revision=COMMIT, cache_dir=place.hub.cache, endpoint=place.server.endpoint
    )
    place.server.log.clear()
    place.fetch()
    assert place.server.ranges() == [None, None], "the VAE and the detector only"
    place.server.log.clear()
    again = hf_hub_download("acme/pipeline", "LICENSE", revision=COMMIT, cache_dir=place.hub.cache)
    assert Path(again) == place.cached("LICENSE")
    assert place.server.log == []


def test_without_weights_only_what_cheap_checks_need_is_fetched(place: Place) -> None:
    folders = fetch_bundle(from_hub(), hub=place.hub, folder=place.bundles, weights=False)
    assert json.loads((folders["unet"] / "config.json").read_text()) == {"in_channels": 4}
    assert place.server.ranges() == []
    plan = plan_fetch(from_hub(), hub=place.hub, folder=place.bundles)
    assert plan.to_load == LARGE + 5000 + 999
    assert "12 files, 3.01 MB, of which 3.01 MB are to be loaded" in str(plan)


def test_a_killed_fetch_goes_on_where_it_was(place: Place) -> None:
    place.server.faults.pause = 0.05
    process = place.start()
    while not place.part.exists() or place.part.stat().st_size < 500_000:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    loaded = place.part.stat().st_size
    assert 0 < loaded < LARGE
    assert not place.cached().exists()
    place.server.faults.pause = 0.0
    place.server.log.clear()
    place.fetch()
    assert place.server.ranges() == [f"bytes={loaded}-"]
    assert place.cached().read_bytes() == (place.repository / UNET).read_bytes()


def test_two_fetches_of_the_same_file_load_it_once(place: Place) -> None:
    place.server.faults.pause = 0.02
    processes = [place.start() for _ in range(2)]
    for process in processes:
        assert process.wait(60) == 0, process.communicate()[1].decode()
        process.communicate()
    loads = [request for request in place.server.log if request.method == "GET" and UNET in request.path]
    assert len(loads) == 1
    assert place.cached().read_bytes() == (place.repository / UNET).read_bytes()
    assert all(
        known.sha256 for known in Lock.of("ours", place.bundles).files("acme/pipeline", COMMIT).values()
    )


def test_a_connection_that_breaks_again_and_again_is_continued(place: Place) -> None:
    place.server.faults.cut_after = 1_000_000
    place.fetch()
    assert [request for request in place.server.ranges() if request] == ["bytes=1000000-", "bytes=2000000-"]
    assert place.cached().read_bytes() == (place.repository / UNET).read_bytes()


@pytest.mark.parametrize("no_range", [True, False])
def test_a_part_that_cannot_be_continued_is_loaded_anew(place: Place, no_range: bool) -> None:
    """Because the hub sends files from their beginning only, or because the part is wrong, as after a loss of power."""
    place.part.parent.mkdir(parents=True)
    place.part.write_bytes(bytes(1_000_000))
    place.server.faults.no_range = no_range
    place.fetch()
    assert place.server.ranges()[2:] == ["bytes=1000000-", *([] if no_range else [None])]
    assert place.cached().read_bytes() == (place.repository / UNET).read_bytes()


def test_a_changed_byte_is_refused(place: Place) -> None:
    place.server.faults.wrong_byte = 700
    sentence = place.refusal()
    assert "the SHA-256" in sentence
    assert "which the hub names: nothing of it was kept" in sentence
    assert "HF_ENDPOINT" in sentence
    assert not list(place.hub.cache.rglob("*.incomplete"))
    assert not list(place.hub.cache.rglob("*.safetensors"))


def test_a_file_that_the_hub_changed_is_refused_before_it_is_loaded(place: Place) -> None:
    place.fetch()
    shutil.rmtree(place.hub.cache)
    weights = (place.repository / UNET).read_bytes()
    for content, what in ((weights[:-1] + b"?", "SHA-256"), (weights + b"?", "size")):
        (place.repository / UNET).write_bytes(content)
        place.server.log.clear()
        sentence = place.refusal()
        assert f"{UNET} has the {what}" in sentence
        assert "ours.lock.json: it was changed, nothing is loaded" in sentence
        assert place.server.ranges() == []


def test_a_small_file_that_the_hub_changed_is_refused(place: Place) -> None:
    """It has no SHA-256 at the hub, so it shows once it is here."""
    place.fetch()
    shutil.rmtree(place.hub.cache)
    (place.repository / "unet" / "config.json").write_bytes(b'{"in_channels": 9}')
    assert "which the lock file names: nothing of it was kept" in place.refusal()
    assert not place.cached("unet/config.json").exists()


def test_a_cached_file_that_changed_is_refused_with_its_place(place: Place) -> None:
    place.fetch()
    blob = place.cached().resolve()
    blob.write_bytes(b"?" + blob.read_bytes()[1:])
    sentence = place.refusal(offline=True)
    assert str(blob) in sentence
    assert "delete it, and it is loaded again" in sentence
    blob.unlink()
    place.fetch()
    assert place.cached().read_bytes() == (place.repository / UNET).read_bytes()


def test_a_commit_that_is_not_the_pinned_one_is_refused(place: Place) -> None:
    place.server.faults.commit = OTHER
    assert f"answers with commit {OTHER}" in place.refusal()
    assert not place.hub.cache.exists()


def test_a_revision_that_is_gone_and_one_that_can_move_are_refused(place: Place) -> None:
    for revision, expected in (
        (OTHER, f"has no commit {OTHER}"),
        ("main", "'main' of acme/detector can move"),
    ):
        networks = {
            **from_hub().networks,
            "detector": Weights(repo="acme/detector", revision=revision),
        }
        assert expected in place.refusal(msgspec.structs.replace(from_hub(), networks=networks))


def test_a_missing_file_and_a_missing_repository_are_named(place: Place) -> None:
    place.server.faults.missing = {UNET}
    sentence = place.refusal()
    assert f"has no {UNET} there" in sentence
    assert "weights must be .safetensors" in sentence
    shutil.rmtree(place.server.folder / "acme" / "detector")
    place.server.faults.missing = set()
    assert "does not give out acme/detector (404)" in place.refusal()


def test_a_tokenizer_may_be_of_either_form_and_must_be_of_one(place: Place) -> None:
    (place.repository / "tokenizer" / "merges.txt").unlink()
    assert (
        "neither tokenizer/tokenizer.json, nor tokenizer/vocab.json and tokenizer/merges.txt"
        in place.refusal()
    )
    (place.repository / "tokenizer" / "tokenizer.json").write_text("{}")
    place.fetch()
    assert place.cached("tokenizer/tokenizer.json").exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_hub_that_wants_a_token_is_explained(place: Place, status: int) -> None:
    place.server.faults.refuse = status
    sentence = place.refusal()
    assert f"({status})" in sentence
    assert "HF_TOKEN" in sentence


def test_a_token_goes_to_the_hub_and_not_to_where_it_sends_from(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    place.fetch()
    told = {request.host: request.authorization for request in place.server.log}
    assert told == {"127.0.0.1": "Bearer hf_secret", "localhost": None}


def test_a_hub_that_fails_is_asked_again_a_few_times(place: Place) -> None:
    place.server.faults.errors = 2
    place.fetch()
    shutil.rmtree(place.hub.cache)
    place.server.faults.errors = 1000
    sentence = place.refusal()
    assert "answers 503 (3 tries)" in sentence
    assert "goes on where it was" in sentence
    assert place.server.faults.errors == 997


def test_a_hub_that_breaks_every_connection_leaves_what_was_loaded(place: Place) -> None:
    place.part.parent.mkdir(parents=True)
    place.part.write_bytes((place.repository / UNET).read_bytes()[:1_000_000])
    fetch_bundle(from_hub(), hub=place.hub, folder=place.bundles, weights=False)
    place.server.faults.cut_after = 0
    assert "broke the connection" in place.refusal()
    assert place.part.stat().st_size == 1_000_000


def test_a_silent_and_a_crawling_hub_are_given_up(place: Place) -> None:
    place.server.faults.silence = 0.5
    assert "is slow: no answer in time (1 tries)" in place.refusal(answer_timeout=0.1, waits=())
    place.server.faults.silence = 0.0
    place.server.faults.pause = 0.1
    sentence = place.refusal(patience=0.3, slowest=1e9, waits=())
    assert "kB a second" in sentence
    assert place.part.stat().st_size > 0


def test_a_hub_that_cannot_be_reached_is_named(place: Place) -> None:
    sentence = place.refusal(endpoint="http://127.0.0.1:9")
    assert "http://127.0.0.1:9 cannot be reached" in sentence
    assert "HTTPS_PROXY" in sentence


def test_a_file_without_an_end_is_cut_off(place: Place) -> None:
    place.server.faults.longer = 100
    assert "sends more than the" in place.refusal()
    assert not list(place.hub.cache.rglob("*.incomplete"))


def test_offline_with_a_cold_cache_is_explained(place: Place) -> None:
    assert "HF_HUB_OFFLINE is set" in place.refusal(offline=True)
    assert place.server.log == []


def test_the_disk_is_looked_at_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(place.bundles)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "3.01 MB are to be loaded and 1.00 MB are free" in place.refusal()
    assert place.server.ranges() == []


def test_a_full_disk_is_explained(place: Place) -> None:
    place.part.parent.mkdir(parents=True)
    place.part.symlink_to("/dev/full")
    sentence = place.refusal()
    assert "the disk is full: free 3.00 MB" in sentence
    assert not place.cached().exists()


def test_what_another_bundles_lock_knows_holds_here_too(place: Place) -> None:
    """A bundle made from another has no lock of its own at first."""
    place.fetch()
    (place.bundles / "ours.lock.json").rename(place.bundles / "theirs.lock.json")
    (place.repository / "unet" / "config.json").write_bytes(b'{"in_channels": 9}')
    place.server.log.clear()
    place.fetch()
    assert place.server.log == []
    assert Lock.of("ours", place.bundles).files("acme/detector", COMMIT)["config.json"].sha256


@pytest.mark.parametrize("text", ["{", '{"a@b": {"c": {"sha256": "ABC"}}}', '{"a@b": {"c": {"sice": 1}}}'])
def test_a_malformed_lock_is_named(place: Place, text: str) -> None:
    (place.bundles / "ours.lock.json").write_text(text)
    assert str(place.bundles / "ours.lock.json") in place.refusal()


@pytest.mark.filterwarnings("ignore")
def test_networks_from_a_hub_are_those_that_were_put_there(place: Place) -> None:
    """Loading from the folders asks the hub for nothing; the pipeline's schedule is found beside the UNet."""
    tiny = load_bundle("tiny")
    networks = load_networks(tiny)
    for name in ("unet", "vae"):
        networks[name].save_pretrained(place.repository / name)
    networks["detector"].save_pretrained(place.server.folder / "acme" / "detector" / COMMIT)
    (place.repository / "scheduler" / "scheduler_config.json").write_text(
        json.dumps({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.02})
    )
    bundle = from_hub()
    local = with_folders(bundle, place.fetch())
    place.server.log.clear()
    loaded = load_networks(local)
    assert place.server.log == []
    for name in ("unet", "vae", "detector"):
        ours, theirs = loaded[name].state_dict(), networks[name].state_dict()
        assert ours.keys() == theirs.keys()
        assert all(ours[key].equal(theirs[key]) for key in theirs)
    with pytest.raises(
        BundleError, match=r"beta_end is 0\.012, but .*scheduler_config.json says beta_end 0\.02"
    ):
        check_schedule(local)


def test_of_a_network_that_a_single_file_is_like_only_the_configuration_is_fetched(place: Place) -> None:
    like = from_hub().networks["unet"]
    networks = {**load_bundle("tiny").networks, "unet": Weights(path="my.safetensors", like=like)}
    bundle = msgspec.structs.replace(load_bundle("tiny"), name="ours", networks=networks)
    folders = place.fetch(bundle)
    assert folders == {"unet.like": place.hub.cache / PIPELINE / "unet"}
    unet = with_folders(bundle, folders).networks["unet"]
    assert unet == Weights(path="my.safetensors", like=Weights(path=str(folders["unet.like"])))
    assert place.cached("scheduler/scheduler_config.json").exists()
    assert place.server.ranges() == []


@pytest.mark.parametrize("terminal", [True, False])
def test_licences_an_estimate_and_progress_are_shown(
    place: Place, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_progress, "EVERY", 0.0)
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200)
    licence = Licence(name="Open", url="https://example.org", networks=["unet"], restrictions="Do no harm.")
    bundle = msgspec.structs.replace(from_hub(), licences=[licence])
    fetch_with_progress(bundle, console, hub=place.hub, folder=place.bundles)
    shown = out.getvalue()
    assert (
        shown.index("Do no harm.") < shown.index("of which 3.01 MB are to be loaded") < shown.index("loading")
    )
    assert "min on two CPU cores" in shown
    assert f"loading 12 of 12: {UNET[-40:]}" in shown
    assert ("MB/s, 0 min left" in shown) is not terminal
    fetch_with_progress(bundle, console, hub=place.hub, folder=place.bundles)
    assert f"all of which are in {place.hub.cache}" in out.getvalue()
    assert "verifying 12 of 12" in out.getvalue()


def test_networks_that_do_not_fit_are_found_before_gigabytes_are_loaded(place: Place) -> None:
    seen = []

    def look(local: Bundle) -> None:
        seen.append(Path(str(local.networks["unet"].source), "config.json").is_file())
        raise BundleError("they do not fit")

    with pytest.raises(BundleError, match="they do not fit"):
        fetch_with_progress(
            from_hub(), Console(file=io.StringIO()), look=look, hub=place.hub, folder=place.bundles
        )
    assert seen == [True]
    assert place.server.ranges() == []


def test_the_texts_of_licences_go_with_the_release(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.fetch()
    texts = licence_texts(from_hub(), hub=place.hub)
    assert texts == {"acme--pipeline-LICENSE": place.cached("LICENSE")}
    monkeypatch.setattr(licences, "licence_texts", lambda bundle: texts)
    write_notices(from_hub(), place.bundles)
    assert not (place.bundles / "NOTICE.txt").exists(), "a bundle without licences has none"
    licence = Licence(name="Open", url="https://example.org", networks=["unet"])
    write_notices(msgspec.structs.replace(from_hub(), licences=[licence]), place.bundles)
    assert "Open: unet; https://example.org" in (place.bundles / "NOTICE.txt").read_text()
    assert (place.bundles / "acme--pipeline-LICENSE").read_text() == "You may.\n"


def test_nothing_is_shown_for_a_bundle_without_a_hub() -> None:
    out = io.StringIO()
    assert fetch_with_progress(load_bundle("tiny"), Console(file=out)) == {}
    assert out.getvalue() == ""


def test_every_file_that_sd15_needs_is_pinned_by_its_size_or_its_hash() -> None:
    bundle = load_bundle("sd15")
    lock = Lock.of("sd15")
    for repo, wanted in wanted_files(bundle).items():
        known = lock.files(repo.name, repo.revision)
        assert set(wanted.needed) <= set(known) <= {*wanted.needed, *wanted.welcome}
        for file, entry in known.items():
            if (repo.name, file) == ("madebyollin/taesd", "config.json"):
                continue  # no source says more of it than the commit; the first fetch writes it down
            assert entry.sha256 or (file == "config.json" and entry.size), (repo, file)
    pinned = json.loads((BUNDLES / "sd15.lock.json").read_text())
    assert set(pinned) == {f"{repo.name}@{repo.revision}" for repo in wanted_files(bundle)}


def test_the_licences_of_sd15_cover_every_network_and_are_recorded() -> None:
    bundle = load_bundle("sd15")
    covered = {name for licence in bundle.licences for name in licence.networks}
    assert covered == {*NETWORKS, "tiny_decoder", "tokenizer", *bundle.variants}
    facts = licence_facts(bundle)
    assert [licence.name for licence in facts["licences"]] == [
        "CreativeML OpenRAIL-M", "Apache-2.0", "MIT", "MIT", "CreativeML Open RAIL++-M",
    ]  # fmt: skip
    text = notice(bundle)
    assert facts["modified"] in text
    assert all(line in text for line in licence_lines(bundle))
    assert "Intel/dpt-large bc15f29aa3a80d532f2ed650b5e16ac48d8958f9" in text
    assert licence_facts(load_bundle("tiny")) == {}, "its committed release has none"


def test_make_exports_a_bundle_that_has_no_release_and_no_other() -> None:
    def commands(bundle: str, *options: str) -> str:
        # Naming the interpreter saves make the search for one.
        common = ("make", "--dry-run", "demo", "up", f"BUNDLE={bundle}", f"PYTHON={sys.executable}")
        made = ran(*common, *options, cwd=ROOT)
        assert made.returncode == 0, made.stderr
        return made.stdout

    assert commands("sd15").index("-m export 'sd15'") < commands("sd15").index("-m stack demo")
    # Whatever the times of the files say.
    for bundle in ("dollhouse", "tiny"):
        assert "-m export" not in commands(bundle, "--what-if", f"export/bundles/{bundle}.toml")
    assert "-m export" not in commands("unheard")
