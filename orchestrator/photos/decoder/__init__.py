"""The process that decodes strangers' pictures, with little memory and time, apart from everything else.

``orchestrator.photos`` runs it (``python -m orchestrator.photos.decoder``) and talks to it through pipes. It imports
nothing but decoding libraries, numpy and the standard library, and nothing of the orchestrator imports it.

- ``containers`` takes a file apart (``jpeg``, ``png``, ``webp``) and hands on what pixels, colours and orientation
  need, and no byte more;
- ``orientation`` reads how the photo lies, ``cicp`` makes profiles of colours that are named by number;
- ``picture`` turns that into an upright sRGB JPEG;
- ``sandbox`` gives up what a decoder has no use for: all but memory, time and three pipes;
- ``__main__`` does that and serves.
"""
