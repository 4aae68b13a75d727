"""Networks whose weights are kept once: in the graphs that were exported from them.

    python -m export.sources.weights_from_graphs dollhouse      # after an export of weights in export/bundles/dollhouse

A network's folder holds config.json and a .safetensors file, as ``from_pretrained`` reads it. Nearly all of its numbers
are also in the graphs of the release, and a published graph never changes. So the repository keeps, in place of the
.safetensors file:

    weights.json     for each tensor the graph and initializer that hold it, and the SHA-256 of the file
    remainder.npz    the tensors that no graph holds: the exporter folded them, or no output depends on them

:func:`copy_network` makes the file again, the same to the byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from safetensors.numpy import load, save

from export.bundle import BUNDLES, BundleError, load_bundle
from export.graphs.fp16_initializers import weights_of
from export.releases.folder import live_document
from export.releases.specs import graph_file

RELEASES = Path(__file__).parents[2] / "releases"
INDEX, REMAINDER = "weights.json", "remainder.npz"

Array = NDArray[Any]


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of weights.json."""

    file: str
    """The file name that ``from_pretrained`` looks for."""
    sha256: str
    """SHA-256 of that file."""
    release: str
    """A folder in releases/."""
    version: int
    dtype: str
    """numpy's name of the element type that these tensors have in the file."""
    straight: dict[str, str]
    """By tensor: ``graph/initializer``, by the initializer's name in ``export.graphs.fp16_initializers.weights_of``."""
    transposed: dict[str, str]
    """The same for matrices that the exporter transposed."""


def pack(folder: Path, release: Path, version: int) -> None:
    """Replace the .safetensors file of the network in ``folder``, if there is one, by INDEX and REMAINDER.

    Version ``version`` of ``release`` was exported from it. The folder has the whole network at every moment. Raises
    BundleError when the graphs hold less than half of it, ValueError when the file could not be made again.
    """
    for file in folder.glob("*.safetensors"):
        content = file.read_bytes()
        tensors: dict[str, Array] = load(content)
        dtype = next(
            (str(tensor.dtype) for tensor in tensors.values() if tensor.dtype.kind == "f"), "float32"
        )
        places = _places(release, version)
        straight, transposed, remainder = {}, {}, {}
        for name, tensor in sorted(tensors.items()):
            wide = tensor.astype(np.float32)
            if str(tensor.dtype) == dtype and (found := places.get(_key(wide))):
                straight[name] = _best(found, name)
            elif str(tensor.dtype) == dtype and (found := places.get(_key(wide.T))):
                transposed[name] = _best(found, name)
            else:
                remainder[name] = tensor
        index = Index(
            file=file.name,
            sha256=hashlib.sha256(content).hexdigest(),
            release=release.name,
            version=version,
            dtype=dtype,
            straight=straight,
            transposed=transposed,
        )
        if _size(remainder) > 0.5 * _size(tensors):
            held = 100.0 * (1.0 - _size(remainder) / _size(tensors))
            raise BundleError(
                f"{release.name}, version {version}, holds {held:.0f} % of the weights in {folder}: export them first"
            )
        _content(index, remainder, release)
        np.savez(folder / REMAINDER, allow_pickle=False, **remainder)
        new = folder / f".{INDEX}.new"
        new.write_bytes(msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n")
        os.replace(new, folder / INDEX)
        file.unlink()


def is_packed(folder: Path) -> bool:
    """Whether the weights of the network in ``folder`` are kept in graphs."""
    return (folder / INDEX).is_file()


def copy_network(folder: Path, target: Path, releases: Path = RELEASES) -> None:
    """Copy the network in ``folder`` to ``target``, with all weights in one file, as ``from_pretrained`` reads it.

    Raises BundleError when the graphs that hold them are missing or were changed.
    """
    if not is_packed(folder):
        shutil.copytree(folder, target, dirs_exist_ok=True)
        return
    try:
        index = msgspec.json.decode((folder / INDEX).read_bytes(), type=Index)
        with np.load(folder / REMAINDER, allow_pickle=False) as remainder:
            content = _content(index, dict(remainder), releases / index.release)
    except (OSError, ValueError, BadZipFile) as error:
        raise BundleError(f"{folder}: its weights cannot be put together: {error}") from error
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "config.json", target / "config.json")
    (target / index.file).write_bytes(content)


def _content(index: Index, remainder: dict[str, Array], release: Path) -> bytes:
    """The bytes of the .safetensors file. Raises ValueError when they are not those that were packed."""
    tensors, graphs = dict(remainder), dict[str, dict[str, Array]]()
    for places, transposed in ((index.straight, False), (index.transposed, True)):
        for name, place in places.items():
            graph, _, initializer = place.partition("/")
            if graph not in graphs:
                graphs[graph] = _weights(_file(release, graph, index.version))
            array = graphs[graph].get(initializer)
            if array is None:
                raise ValueError(f"{graph} of {index.release}, version {index.version}, has no {initializer}")
            tensors[name] = np.ascontiguousarray((array.T if transposed else array).astype(index.dtype))
    content: bytes = save(tensors, {"format": "pt"})
    if hashlib.sha256(content).hexdigest() != index.sha256:
        raise ValueError(f"those in the graphs of {index.release}, version {index.version}, are others")
    return content


def _size(tensors: dict[str, Array]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _places(release: Path, version: int) -> dict[bytes, list[str]]:
    """``graph/initializer`` by :func:`_key` for every weight of a release."""
    places: dict[bytes, list[str]] = {}
    for graph in sorted(folder.name for folder in (release / "models").iterdir()):
        for name, array in sorted(_weights(_file(release, graph, version)).items()):
            places.setdefault(_key(array), []).append(f"{graph}/{name}")
    return places


def _best(places: list[str], name: str) -> str:
    """The place whose name the exporter kept, where several hold the same numbers (such as zeros)."""
    return max(places, key=lambda place: place.endswith(f".{name}"))


def _key(array: Array) -> bytes:
    return hashlib.sha256(
        f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
    ).digest()


def _file(release: Path, graph: str, version: int) -> Path:
    """The graph of a version of the release, which may have it in common with an earlier one."""
    document = msgspec.json.decode((release / "versions" / str(version) / "release.json").read_bytes())
    return graph_file(release, document, graph)


def _weights(file: Path) -> dict[str, Array]:
    try:
        return weights_of(onnx.load(file))
    except DecodeError as error:
        raise ValueError(f"{file} is no ONNX file") from error


def main(arguments: list[str] | None = None) -> int:
    """Pack every network of a bundle. Exit status: 0 = done, 1 = the release does not hold them, 2 = wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m export.sources.weights_from_graphs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", help="a name in export/bundles, such as dollhouse, whose release is live")
    given = parser.parse_args(arguments)
    try:
        bundle = load_bundle(given.bundle)
    except BundleError as error:
        print(error, file=sys.stderr)
        return 2
    release = RELEASES / bundle.name
    try:
        version = int(live_document(release).parent.name)
        for weights in bundle.networks.values():
            if weights.path is not None:
                pack(BUNDLES / weights.path, release, version)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
