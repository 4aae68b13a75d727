"""Fetching what a bundle takes from a model hub, into Hugging Face's own cache, verified against the lock file.

:func:`fetch_bundle` is all that the rest of the exporter needs. It does not ask the hub when the cache has every file
that the lock file names.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from export.bundle import BUNDLES, Bundle, BundleError, Lora, Variant, Weights
from export.sources.hub_cache import (
    Progress,
    check_space,
    fetch_file,
    gigabytes,
    loaded,
    snapshot,
    verify_cached,
)
from export.sources.hub_client import Hub, Remote
from export.sources.lock import Lock, Locked
from export.sources.wanted import LICENCES, LIKE, Repo, Wanted, hub_loras, parts, repo_of, wanted_files

_WEIGHTS = ".safetensors"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One file that the bundle takes."""

    repo: Repo
    file: str
    path: Path
    """Where it is, or will be."""
    known: Locked
    remote: Remote | None
    """What the hub says of it; None = it was not asked, for the cache and the lock file know enough."""

    @property
    def size(self) -> int:
        if self.known.size is not None:
            return self.known.size
        return self.path.stat().st_size if self.remote is None else self.remote.size


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a fetch will do. Nothing is loaded yet, but whatever the hub can say of the files was asked."""

    bundle: Bundle
    hub: Hub
    lock: Lock
    items: list[Item]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)

    @property
    def to_load(self) -> int:
        """Bytes that are not on this machine yet."""
        return sum(
            item.remote.size - loaded(self.hub, item.remote)
            for item in self.items
            if item.remote is not None and not item.path.exists()
        )

    def __str__(self) -> str:
        files = f"{self.bundle.name}: {len(self.items)} files, {gigabytes(self.size)}"
        if all(item.path.exists() for item in self.items):
            return f"{files}, all of which are in {self.hub.cache}"
        loads = f"{gigabytes(self.to_load)} are to be loaded from {self.hub.endpoint} into {self.hub.cache}"
        return f"{files}, of which {loads}"


def fetch_bundle(
    bundle: Bundle,
    progress: Progress | None = None,
    *,
    hub: Hub | None = None,
    folder: Path = BUNDLES,
    weights: bool = True,
) -> dict[str, Path]:
    """The local folder of everything that the bundle takes from a hub, by the names of
    :func:`export.sources.wanted.parts`, and the file of every LoRA by those of :func:`export.sources.wanted.hub_loras`;
    {} when it takes nothing.

    Files that are missing are loaded, all are verified, and the lock file in ``folder`` is completed. Without
    ``weights`` only the configurations and the tokenizer's files are fetched: enough for the cheap checks. Raises
    BundleError with one sentence that says what to do; what was loaded so far stays to be continued.
    """
    if not wanted_files(bundle):
        return {}
    return carry_out(plan_fetch(bundle, hub=hub, folder=folder), progress, weights=weights)


def plan_fetch(bundle: Bundle, *, hub: Hub | None = None, folder: Path = BUNDLES) -> Plan:
    """Look at the cache, the lock file and, for what these do not know, the hub. Raises BundleError."""
    hub = hub or Hub()
    lock = Lock.of(bundle.name, folder)
    items = []
    for repo, wanted in wanted_files(bundle).items():
        found = _items(hub, lock, repo, wanted)
        # The choice is recorded before anything is loaded, so that an interrupted fetch makes the same one again.
        lock.complete(repo.name, repo.revision, {item.file: item.known for item in found})
        items += found
    return Plan(bundle=bundle, hub=hub, lock=lock, items=items)


def carry_out(plan: Plan, progress: Progress | None = None, *, weights: bool = True) -> dict[str, Path]:
    """Do what :func:`plan_fetch` found; returns and raises as :func:`fetch_bundle` does."""
    progress = progress or _Silent()
    items = sorted(
        (item for item in plan.items if weights or not item.file.endswith(_WEIGHTS)),
        key=lambda item: item.size,
    )
    cached = [item for item in items if item.path.exists()]
    missing = [(item, item.remote) for item in items if item.remote is not None and item not in cached]
    loads = sum(remote.size - loaded(plan.hub, remote) for _, remote in missing)
    check_space(plan.hub, loads)
    if cached:
        progress.begin("verifying", len(cached), sum(item.size for item in cached))
    for item in cached:
        progress.file(item.file)
        etag = item.remote.etag if item.remote is not None else None
        _record(plan.lock, item, verify_cached(item.path, item.known, etag, progress))
    if missing:
        progress.begin("loading", len(missing), loads)
    for item, remote in missing:
        progress.file(item.file)
        _record(plan.lock, item, fetch_file(plan.hub, remote, item.known, progress))
    return local_folders(plan.bundle, hub=plan.hub)


def local_folders(bundle: Bundle, *, hub: Hub | None = None) -> dict[str, Path]:
    """The places that :func:`fetch_bundle` returned, without looking into them: for the stages after it."""
    hub = hub or Hub()
    folders = {
        name: snapshot(hub, repo_of(bundle, name, weights)) / weights.subfolder
        for name, weights in parts(bundle).items()
    }
    files = {
        name: snapshot(hub, repo_of(bundle, name, lora)) / str(lora.filename)
        for name, lora in hub_loras(bundle).items()
    }
    # A LoRA has no configuration: before its weights are fetched there is nothing to look at.
    return folders | {name: file for name, file in files.items() if file.exists()}


def licence_texts(bundle: Bundle, *, hub: Hub | None = None) -> dict[str, Path]:
    """The licences that the repositories have as files and that were fetched, by a name that says of which they are."""
    hub = hub or Hub()
    return {
        f"{repo.name.replace('/', '--')}-{file}": path
        for repo in wanted_files(bundle)
        for file in LICENCES
        if (path := snapshot(hub, repo) / file).exists()
    }


def with_folders(bundle: Bundle, folders: dict[str, Path]) -> Bundle:
    """The bundle, with local folders in place of the hub's repositories: what loads networks asks nobody then."""

    def local(name: str, weights: Weights) -> Weights:
        if weights.like is not None:
            weights = msgspec.structs.replace(weights, like=local(f"{name}{LIKE}", weights.like))
        if name not in folders:
            return weights
        return msgspec.structs.replace(
            weights, path=str(folders[name].absolute()), repo=None, revision=None, subfolder=""
        )

    files = {lora: folders[name] for name, lora in hub_loras(bundle).items() if name in folders}

    def near(loras: Iterable[Lora]) -> list[Lora]:
        return [
            Lora(path=str(files[lora].absolute()), scale=lora.scale) if lora in files else lora
            for lora in loras
        ]

    return msgspec.structs.replace(
        bundle,
        networks={name: local(name, weights) for name, weights in bundle.networks.items()},
        tokenizer=local("tokenizer", bundle.tokenizer),
        loras=near(bundle.loras),
        variants={name: Variant(loras=near(variant.loras)) for name, variant in bundle.variants.items()},
    )


def _record(lock: Lock, item: Item, known: Locked) -> None:
    lock.complete(item.repo.name, item.repo.revision, {item.file: known})


def _items(hub: Hub, lock: Lock, repo: Repo, wanted: Wanted) -> list[Item]:
    known = lock.files(repo.name, repo.revision)
    chosen = all(file in known for file in wanted.needed) and _complete(known, wanted)
    items = []
    for file in (*wanted.needed, *wanted.welcome):
        if chosen and file not in known:
            continue
        item = _item(hub, lock, repo, file, known.get(file, Locked()), needed=file in wanted.needed or chosen)
        if item is not None:
            items.append(item)
    if not _complete([item.file for item in items], wanted):
        where = hub.cache if hub.offline else hub.endpoint
        files = ", nor ".join(" and ".join(files) for files in wanted.alternatives)
        raise BundleError(
            f"{repo}: {where} has neither {files}: correct repo, revision or subfolder of the tokenizer"
        )
    return items


def _complete(files: Iterable[str], wanted: Wanted) -> bool:
    """Whether one of the alternatives is among ``files``."""
    there = set(files)
    return not wanted.alternatives or any(there.issuperset(needed) for needed in wanted.alternatives)


def _item(hub: Hub, lock: Lock, repo: Repo, file: str, known: Locked, *, needed: bool) -> Item | None:
    """None when there is no such file and none is needed. Raises BundleError."""
    path = snapshot(hub, repo) / file
    there = path.exists()
    remote = None
    if hub.offline:
        if not there and needed:
            raise BundleError(
                f"{repo}: {file} is not in {hub.cache}, and HF_HUB_OFFLINE is set: unset it on a machine with a "
                "connection, or copy the cache of one that has it"
            )
    elif not there or known.sha256 is None:
        remote = hub.look(repo, file)
        if remote is None and needed:
            raise BundleError(
                f"{repo}: {hub.endpoint} has no {file} there, and the bundle takes it: correct repo, revision or "
                "subfolder; weights must be .safetensors"
            )
    if remote is None and not there:
        return None
    if remote is not None:
        _compare(lock, remote, known)
        known = known.filled(Locked(size=remote.size))
    return Item(repo=repo, file=file, path=path, known=known, remote=remote)


def _compare(lock: Lock, remote: Remote, known: Locked) -> None:
    """Raises BundleError when the hub describes another file than the lock file does."""
    large = len(remote.etag) == 64
    for what, ours, theirs in (
        ("size", known.size, remote.size),
        ("SHA-256", known.sha256, remote.etag if large else known.sha256),
    ):
        if ours is not None and ours != theirs:
            raise BundleError(
                f"{remote.repo}: {remote.file} has the {what} {theirs} at the hub and {ours} in {lock.path.name}: it "
                "was changed, nothing is loaded; take another hub or mirror (HF_ENDPOINT)"
            )


class _Silent:
    """Shows nothing."""

    def begin(self, what: str, files: int, size: int) -> None:
        pass

    def file(self, name: str) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass
