"""``python -m export BUNDLE``: weights → a checked, published release."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent


def version_number(text: str) -> int:
    """Triton ignores version folders that are not positive numbers."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def report(line: str) -> None:
    """Say what is being done."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Export one bundle; returns the exit code: 0 done, 1 the export failed its proofs, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m export", description="Weights → a checked, published release."
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
        "--precision", choices=["fp32", "fp16"], help="what the graphs compute in, instead of the bundle's"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "export",
        help="where graphs are kept, so that an interrupted export goes on and the next one makes only what has "
        "changed (build/export)",
    )
    options = parser.parse_args(arguments)
    try:
        import msgspec

        from export.bundle import BundleError, load_bundle
        from export.proofs.parity import ParityError
        from export.proofs.rehearsal import RehearsalError
        from export.release import build_release, write_python_configs
    except ModuleNotFoundError as error:
        print(
            f"export needs {error.name}: run `make export`, or pip install '.[export]'",
            file=sys.stderr,
        )
        return 2
    # torch warns of every fallback of its exporter; the exported graphs are checked afterwards.
    warnings.simplefilter("ignore")
    try:
        bundle = load_bundle(options.bundle)
        if options.repository:
            write_python_configs(options.repository)
        if options.precision:
            bundle = msgspec.structs.replace(bundle, precision=options.precision)
        work = options.work / f"{bundle.name}-{bundle.precision}"
        release = build_release(bundle, options.releases, options.version, work, report)
    except (BundleError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except (ParityError, RehearsalError) as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    print(f"published {release}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
