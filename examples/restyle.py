"""Restyle one photo, show the progress, save the picture.

    python examples/restyle.py room.jpg boho result.jpg

The service is at REROOM_URL, else at http://localhost:8000. Needs the client: pip install ./client
"""

import os
import sys

import reroom


def main(photo: str, style: str, out: str) -> None:
    preferences = reroom.Preferences(prompt="sage green walls", seed=7)
    with reroom.Client(os.environ.get("REROOM_URL", "http://localhost:8000")) as client:
        job = client.submit(photo, style, preferences)
        # The iterator ends with the job. It makes a lost connection again and misses no event.
        for event in client.events(job):
            match event:
                case reroom.events.StatusChanged(message=message):
                    print(message)
                case reroom.events.Step(step=step, of=of):
                    print(f"step {step} of {of}")
                case reroom.events.Failed(error=error):
                    raise SystemExit(f"{error.code}: {error.detail}")
        print("saved", client.download(job, out))


if __name__ == "__main__":
    main(*sys.argv[1:4])
