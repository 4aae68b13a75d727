"""Write the blocking client, reroom/_sync.py, from the asyncio one, reroom/_async.py.

python client/unasync.py           writes it
python client/unasync.py --check   exits 1 when it is not what would be written; `make lint` runs this
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "src" / "reroom"
NOTE = "# Written by client/unasync.py from _async.py: change that file, then run the script.\n"

SUBSTITUTIONS = (
    # What one library call does with await and another without it.
    (r"await asyncio\.to_thread\((\w+), ", r"\1("),
    (r"asyncio\.sleep", "time.sleep"),
    (r"async with asyncio\.timeout\((\w+)\):\n\s+return await (.*)\.recv\(\)", r"return \2.recv(\1)"),
    # Without `legacy`, websockets 17 warns that connect() will return a context manager in place of the connection.
    (r"await connect\(url, ", "connect(url, legacy=True, "),
    (r"pending = (on_event\(.*\))\n\s+if pending is not None:\n\s+await pending", r"\1"),
    (r"for (\w+) in (.*):\n\s+yield \1\n", r"yield from \2\n"),
    # Names, types and words.
    (r"websockets\.asyncio", "websockets.sync"),
    (r"AsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
    (r"Async(Client|Generator)", r"\1"),
    (r"Awaitable\[None\] \| None", "None"),
    (r"; may be a coroutine function", ""),
    (r"asyncio client", "blocking client"),
    (r", for asyncio\. Use it as an async context", ". Use it as a context"),
    (r"Tasks may", "Threads may"),
    # Syntax.
    (r"\baread\b", "read"),
    (r"\baiter_lines\b", "iter_lines"),
    (r"\b(async|await) ", ""),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"import asyncio\n", "import time\n"),
)


def blocking(source: str) -> str:
    """The source of the blocking client for that of the asyncio client, formatted and without unused imports."""
    for pattern, replacement in SUBSTITUTIONS:
        source, count = re.subn(pattern, replacement, source)
        assert count, f"nothing matches {pattern}: remove it, or adapt it to _async.py"
    source = NOTE + source
    for command in (["check", "--fix", "--quiet", "--select=F401,I"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(PACKAGE / "_sync.py"), "-"]
        source = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True).stdout
    return source


def main() -> None:
    target = PACKAGE / "_sync.py"
    wanted = blocking((PACKAGE / "_async.py").read_text())
    if "--check" not in sys.argv[1:]:
        target.write_text(wanted)
    elif target.read_text() != wanted:
        sys.exit(f"{target} is not what {PACKAGE / '_async.py'} gives: run python client/unasync.py")


if __name__ == "__main__":
    main()
