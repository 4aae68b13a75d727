"""``python -m reroom`` is the command ``reroom``."""

from reroom._cli import main

main(prog_name="reroom")
