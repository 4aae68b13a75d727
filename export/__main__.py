"""``python -m export BUNDLE``: weights → a checked, published release; ``python -m export add``: a bundle of yours;
``python -m export plan``: a release's TensorRT plans for this machine's GPU; ``python -m export release``: versions of
a release."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
INTERRUPTED = 130


def version_number(text: str) -> int:
    """Triton ignores version folders that are not positive numbers."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def report(line: str) -> None:
    """Say what is being done."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Export one bundle, or add one, or plan a release; returns 0 = done, 1 = a proof failed, 2 = wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    quieten()
    try:
        match given:
            case ["add", *rest]:
                return _add(rest)
            case ["plan", *rest]:
                return _plan(rest)
            case ["release", *rest]:
                return _release(rest)
            case _:
                return _export(given)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def quieten() -> None:
    """Keep libraries from filling the terminal: with what they miss and is not needed, and bars of a second."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    # torch warns of every fallback of its exporter; the exported graphs are checked afterwards.
    warnings.simplefilter("ignore")


def _needs(error: ModuleNotFoundError) -> int:
    print(f"export needs {error.name}: run `make setup`, or pip install '.[export]'", file=sys.stderr)
    return 2


def _add(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export add",
        description="Write a bundle of your own from the weights that you have, if a look at them finds nothing wrong.",
        epilog="Sources are folders, files or owner/name@commit of a model hub.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        help="a folder that diffusers saved, or a single .safetensors checkpoint; left out: the base's networks",
    )
    parser.add_argument("--name", required=True, help="what the bundle is to be called")
    parser.add_argument("--base", default="sd15", help="the bundle that all else comes from (default sd15)")
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:SCALE]",
        help="fused into the weights; several times",
    )
    parser.add_argument("--vae", help="another VAE")
    parser.add_argument(
        "--controlnet",
        nargs="+",
        action="extend",
        default=[],
        metavar="HINT=SOURCE",
        help="other ControlNets: HINT is depth, canny (edges), lines or segments; one or two",
    )
    parser.add_argument("--depth", help="another depth model")
    parser.add_argument("--detector", help="another detector, also the .onnx of Ultralytics' own exporter")
    parser.add_argument("--segments", help="the segmentation network that a ControlNet for segments wants")
    parser.add_argument("--check", action="store_true", help="only look; write nothing")
    parser.add_argument("--force", action="store_true", help="replace a bundle that this command wrote")
    options = parser.parse_args(arguments)
    try:
        from export.bundle import BundleError
        from export.sources.add import draft, file_for, order, write
    except ModuleNotFoundError as error:
        return _needs(error)
    try:
        path = file_for(options.name, replace=options.force or options.check)
        made = draft(
            order(
                options.name,
                options.base,
                options.source,
                loras=options.lora,
                controlnets=options.controlnet,
                networks={name: getattr(options, name) for name in ("vae", "depth", "detector", "segments")},
            )
        )
        if not options.check:
            write(made, path)
    except (BundleError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(*(f"- {line}" for line in made.assumed), sep="\n")
    if options.check:
        print("nothing wrong was found, and nothing was written")
    else:
        print(f"wrote {path}; `make up BUNDLE={made.bundle.name}` exports and serves it")
    return 0


def _release(arguments: list[str]) -> int:
    try:
        from export.releases.commands import main as release_command
    except ModuleNotFoundError as error:
        return _needs(error)
    return release_command(arguments)


def _plan(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export plan",
        description="A release's graphs → TensorRT plans for this machine's GPU, each proved on it.",
        epilog="Run it in NVIDIA's Triton container, whose TensorRT will serve them: docker/README.md says how.",
    )
    parser.add_argument("release", type=Path, help="a folder such as releases/dollhouse")
    parser.add_argument(
        "--plans", type=Path, default=ROOT / "build" / "plans", help="this machine's plans (build/plans)"
    )
    parser.add_argument("--again", action="store_true", help="make all anew, also those that fit")
    options = parser.parse_args(arguments)
    try:
        from export.plans.engines import NoGpuError, PlanError
        from export.plans.making import make_plans
        from export.plans.nvidia import NvidiaEngines
    except ModuleNotFoundError as error:
        return _needs(error)
    try:
        made = make_plans(options.release, options.plans, NvidiaEngines(), report, options.again)
    except NoGpuError as error:
        print(f"{error}: run this in NVIDIA's Triton container on a machine with a GPU", file=sys.stderr)
        return 2
    except (PlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    without = [verdict for verdict in made.graphs.values() if not verdict.planned]
    for verdict in without:
        print(f"{verdict.graph} is served from its ONNX graph: {verdict.why_not}")
    print(
        f"{len(made.graphs) - len(without)} plans for {made.release}: Triton serves them from its next start"
    )
    return int(bool(without))


def export_parser() -> argparse.ArgumentParser:
    """The options of the export itself."""
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Weights → a checked, published release.",
        epilog="`python -m export add --help` says how to make a bundle of your own weights, `python -m export plan "
        "--help` how to compile a release for this machine's GPU, `python -m export release --help` how to look at its "
        "versions and switch them.",
    )
    parser.add_argument("bundle", help="a name in export/bundles, such as tiny")
    parser.add_argument(
        "--releases", type=Path, default=ROOT / "releases", help="where releases are published"
    )
    parser.add_argument(
        "--repository", type=Path, help="also write config.pbtxt of the models that are code, in this folder"
    )
    parser.add_argument(
        "--version",
        type=version_number,
        help="the version to publish (default: the next one, if anything has changed)",
    )
    parser.add_argument(
        "--promote",
        action="store_true",
        help="make the new version live at once, as the first one of a bundle always is",
    )
    parser.add_argument(
        "--precision", choices=["fp32", "fp16"], help="what the graphs compute in, instead of the bundle's"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "export",
        help="where graphs are kept, so that an interrupted export goes on and the next one makes only what has "
        "changed (build/export)",
    )
    return parser


def _export(arguments: list[str]) -> int:
    options = export_parser().parse_args(arguments)
    try:
        import msgspec

        from export.bundle import BundleError, load_bundle
        from export.proofs.parity import ParityError
        from export.proofs.rehearsal import RehearsalError
        from export.release import build_release, check_parts, write_python_configs
        from export.releases.changes import ReleaseError
        from export.releases.checksums import ReleaseDamaged
        from export.releases.commands import how_to_promote, say_live
        from export.releases.folder import documents, version_folder
        from export.releases.rollout import RolloutError, read_rollout
        from export.sources.announcing import fetch_with_progress
    except ModuleNotFoundError as error:
        return _needs(error)
    try:
        bundle = load_bundle(options.bundle)
        if options.repository:
            write_python_configs(options.repository)
        if options.precision:
            bundle = msgspec.structs.replace(bundle, precision=options.precision)
        fetch_with_progress(bundle, look=check_parts)
        target = options.releases / bundle.name
        before = documents(target).keys()
        work = options.work / f"{bundle.name}-{bundle.precision}"
        release = build_release(
            bundle, options.releases, options.version, work, report, promoted=options.promote
        )
        rollout = read_rollout(release)
    except (BundleError, OSError, ReleaseDamaged, ReleaseError, RolloutError) as error:
        print(error, file=sys.stderr)
        return 2
    except (ParityError, RehearsalError) as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    for version in documents(release).keys() - before:
        print(f"published {release.name}-{version} ({bundle.precision})")
        print(f"what was measured: {version_folder(release, version) / 'report.html'}")
        if version == rollout.live:
            say_live(release, rollout)
        else:
            print(f"{release.name}-{rollout.live} stays live: {how_to_promote(release, version)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
