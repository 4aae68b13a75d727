"""The command line of programs that take everything from the environment."""

from __future__ import annotations

import argparse


def no_arguments(module: str, description: str, epilog: str = "") -> None:
    """Answer ``--help`` and refuse anything else: both end the program, with exit status 0 and 2."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
