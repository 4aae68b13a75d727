"""Measures a release on held-out rooms: figures and gates, the gallery, the model card.

    python -m dollhouse.evaluate                    does a bundle restyle rooms well, quickly and in little memory?
    python -m dollhouse.evaluate.finishing          what does finishing gain, and how long does it take?
    python -m dollhouse.evaluate.room_confidence    is the room type right where `restyle` is sure of it?
    python -m dollhouse.evaluate.planted            does the quality score agree with the eye?
    python -m dollhouse.evaluate.gallery            what does that look like? (pictures for docs/gallery)
    python -m dollhouse.evaluate.style_classifier   makes style_classifier.safetensors, which names a result's style
    python -m dollhouse.evaluate.card               writes the model card

``gates.toml`` holds the bounds that figures must reach, ``results/`` the last measurements.
"""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
