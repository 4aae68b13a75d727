"""``python docs/site.py`` builds the pages for people as a site in build/docs/site. ``make docs`` calls it.

Pages link to each other and to files of the repository by relative paths, so that they work where they lie, too. The
site keeps those paths: pages, and the files that they link to, are copied to build/docs/pages as they are. Zensical
refuses broken links between pages; this program refuses links to files that are not there.

Needs Zensical (the extra ``docs``), and no network.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ROOT / "docs" / "zensical.toml"
STYLE = ROOT / "docs" / "site.css"
LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")


def main() -> int:
    """Exit status: 0 = the site is built, 1 = a link is broken, or Zensical refuses the pages."""
    parser = argparse.ArgumentParser(prog="docs/site.py", description="Build the pages for people as a site.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs", help="default: build/docs")
    out = parser.parse_args().out.resolve()
    if broken := gather(out):
        print("\n".join(broken), file=sys.stderr)
        return 1
    zensical = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    built = subprocess.run(zensical, cwd=out, capture_output=True, text=True, check=False)
    if built.returncode:
        print(built.stdout + built.stderr, file=sys.stderr)
        return 1
    print(f"built {out / 'site' / 'index.html'}")
    return 0


def gather(out: Path) -> list[str]:
    """Copy the pages of the navigation, and the files that they link to, to ``out``/pages; says what is broken."""
    shutil.rmtree(out, ignore_errors=True)
    pages = [ROOT / page for page in navigation(tomllib.loads(SETTINGS.read_text())["project"]["nav"])]
    broken = []
    for page in pages:
        copy(page, out / "pages")
        for link in LINK.findall(page.read_text()):
            target = (page.parent / link).resolve()
            if link.startswith(("http://", "https://")) or target in pages:
                continue
            if target.is_file() and target.suffix != ".md":
                copy(target, out / "pages")
            else:
                broken.append(
                    f"{page.relative_to(ROOT)}: {link} is neither a file nor a page that docs/zensical.toml names"
                )
    shutil.copy(SETTINGS, out)
    copy(STYLE, out / "pages")
    return broken


def navigation(entries: Any) -> list[str]:
    """Every page that the navigation names: a path, a list of entries, or a table of titles with entries."""
    if isinstance(entries, str):
        return [entries]
    inner = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in inner for page in navigation(entry)]


def copy(file: Path, out: Path) -> None:
    """To the same path below ``out`` that it has in the repository."""
    target = out / file.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


if __name__ == "__main__":
    sys.exit(main())
