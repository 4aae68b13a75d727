"""``python -m export BUNDLE``: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent


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
        "--repository", type=Path, default=ROOT / "model_repository", help="the Python models"
    )
    parser.add_argument("--version", type=int, default=1, help="the version to publish (default 1)")
    options = parser.parse_args(arguments)
    try:
        from export.bundle import BundleError, load_bundle
        from export.parity import ParityError
        from export.release import build_release, write_python_configs
    except ModuleNotFoundError as error:
        print(
            f"export needs {error.name}: run `make export`, or pip install '.[export]'",
            file=sys.stderr,
        )
        return 2
    # torch announces every fallback of its exporter; what matters is proved afterwards.
    warnings.simplefilter("ignore")
    try:
        release = build_release(load_bundle(options.bundle), options.releases, options.version)
        write_python_configs(options.repository)
    except (BundleError, FileExistsError) as error:
        print(error, file=sys.stderr)
        return 2
    except ParityError as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    print(f"published {release}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
