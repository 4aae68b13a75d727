"""Restyle several photos at once with asyncio; one that fails leaves the others alone.

    python examples/batch.py results *.jpg

Pictures are saved in the folder `results`, which is made, each under its photo's name. The service is at REROOM_URL,
else at http://localhost:8000. Needs the client: pip install ./client
"""

import asyncio
import os
import sys
from pathlib import Path

import reroom


async def restyle(client: reroom.AsyncClient, photo: Path, folder: Path) -> None:
    try:
        done = await client.restyle(photo, "scandinavian", out=folder / f"{photo.stem}.jpg", timeout=600)
    except (reroom.ReroomError, OSError) as error:
        print(f"{photo}: {error}", file=sys.stderr)
    else:
        assert done.result is not None  # a completed job has one
        print(f"{photo}: done", *(warning.detail for warning in done.result.warnings), sep="\n    ")


async def main(folder: Path, photos: list[Path]) -> None:
    async with reroom.AsyncClient(os.environ.get("REROOM_URL", "http://localhost:8000")) as client:
        await asyncio.gather(*(restyle(client, photo, folder) for photo in photos))


if __name__ == "__main__":
    results = Path(sys.argv[1])
    results.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(results, [Path(name) for name in sys.argv[2:]]))
