"""How fast does the page show itself on a slow phone, and does anything complain of it?

    python -m benchmarks.page              # /studio, and /admin, over the dollhouse; into results/page.json

A real Chromium with a phone's screen visits ``/studio`` (tests/studio/measure.mjs) over a network and a processor that
it slows down itself: see PROFILE, which is in the JSON. The service is on the same machine, so that the profile's
latency is all that a request waits beside the service's own work, and the figures are for an idle machine. Each visit
is by someone who never was here; then the same reader comes again. Medians of several:

``first_paint_ms``   something is drawn
``useful_ms``        what one came for is drawn, and works: a photo can be chosen (it needs no script)
``lcp_ms``           the largest thing of the screen is drawn (Largest Contentful Paint)
``working_ms``       all of the page works: the app is there, with the styles
``layout_shift``     what jumped meanwhile (Cumulative Layout Shift; 0: nothing)
``transfer_kb``      what came over the network for it, headers and the styles' pictures included; not what the service
                     worker fetches afterwards, which lies in the browser's cache but for one language and the page

Then every view of both pages, with a phone and with a dark desktop: what axe finds (``axe_violations``), what the
Content-Security-Policy stopped (``csp_violations``) and what the console complains of (``console_errors``; not that the
network is cut, nor that the service refuses, in the views that show these). Ends with 1 if there is any, or the goal of
``useful_ms`` is missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS, ROOT
from measuring import report
from measuring.gates import Gate
from measuring.releases import ready_release
from stack.stack import Stack

BROWSER = ROOT / "tests" / "studio"
PROFILE = {"latency": 150, "down": 204_800, "up": 93_750, "cpu": 4}
"""Lighthouse's slow phone: 150 ms until an answer begins, 1.6 and 0.75 Mbit/s, a processor four times slower."""
GOAL = Gate(at_most=1000)
FIGURES = (
    "first_paint_ms",
    "useful_ms",
    "lcp_ms",
    "working_ms",
    "layout_shift",
    "transfer_kb",
    "requests",
)
COMPLAINTS = {"axe_violations": "axe", "csp_violations": "policy", "console_errors": "errors"}
TOKEN = "the administrator of this measurement"
SECONDS = 600


def measured(visits: int) -> dict[str, Any]:
    """What tests/studio/measure.mjs says. Raises subprocess.CalledProcessError."""
    node, chromium = shutil.which("node"), shutil.which("chromium")
    with (
        TemporaryDirectory(prefix="reroom-benchmark-") as folder,
        Stack(
            Path(folder) / "run",
            release=ready_release("dollhouse").folder,
            env={"REROOM_ADMIN_TOKEN": TOKEN},
        ) as stack,
    ):
        given = {
            "chromium": chromium, "base": stack.url, "visits": visits, "profile": PROFILE,
            "token": TOKEN if is_there(f"{stack.url}/admin") else None,
        }  # fmt: skip
        done = subprocess.run(
            [str(node), "measure.mjs", json.dumps(given)],
            cwd=BROWSER,
            stdout=subprocess.PIPE,
            timeout=SECONDS,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def is_there(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except urllib.error.HTTPError:
        return False


def document(found: dict[str, Any]) -> dict[str, Any]:
    """Everything that goes into the JSON."""
    medians = {
        which: {name: statistics.median(visit[name] for visit in found[which]) for name in FIGURES}
        for which in ("first", "again")
    }
    return {
        **medians["first"],
        "again": medians["again"],
        **{name: len(found[key]) for name, key in COMPLAINTS.items()},
        "complaints": [each for key in COMPLAINTS.values() for each in found[key]],
        "views": found["views"],
        "profile": PROFILE,
        "all": {which: found[which] for which in ("first", "again")},
    }


def table(found: dict[str, Any]) -> Table:
    made = Table("figure", "first visit", "again", "goal", box=None)
    for column in made.columns[1:3]:
        column.justify = "right"
    for name in FIGURES:
        goal = report.reached(GOAL, found[name]) if name == "useful_ms" else ""
        made.add_row(name, f"{found[name]:.3g}", f"{found['again'][name]:.3g}", goal)
    for name in COMPLAINTS:
        made.add_row(
            f"{name}, {len(found['views'])} views",
            str(found[name]),
            "",
            report.reached(Gate(at_most=0), found[name]),
        )
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--visits", type=int, default=5, help="of readers who never were here (5)")
    parser.add_argument("--out", type=Path, default=RESULTS / "page.json")
    given = parser.parse_args()
    if not (shutil.which("node") and shutil.which("chromium") and (BROWSER / "node_modules").exists()):
        print("this needs node and chromium on PATH, and: npm ci --prefix tests/studio", file=sys.stderr)
        return 1
    around = report.circumstances()
    found = document(measured(given.visits)) | around
    report.write(given.out, found)
    console = Console()
    console.print(table(found))
    for each in found["complaints"]:
        console.print(each, markup=False)
    console.print(f"wrote {given.out}")
    passed = GOAL.passes(found["useful_ms"], GOAL.bound) and not found["complaints"]
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
