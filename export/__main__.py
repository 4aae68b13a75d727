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
        "--version", type=version_number, default=1, help="the version to publish (default 1)"
    )
    options = parser.parse_args(arguments)
    try:
        from export.bundle import BundleError, load_bundle
        from export.proofs.parity import ParityError
        from export.proofs.rehearsal import RehearsalError
        from export.release import build_release, write_python_configs
        from export.sources.announcing import fetch_with_progress
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
        fetch_with_progress(bundle)
        release = build_release(bundle, options.releases, options.version)
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
