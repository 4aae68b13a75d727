"""The program that decodes untrusted pictures in a process of its own, with limits of memory and time.

``orchestrator.photos`` runs it (``python -m orchestrator.photos.decoder``) and communicates with it through pipes. It
imports only decoding libraries, numpy and the standard library, and nothing of the orchestrator imports it.

- ``containers`` splits a file into parts (``jpeg``, ``png``, ``webp``) and keeps only what pixels, colours and
  orientation need;
- ``orientation`` reads the orientation of a photo, ``cicp`` makes ICC profiles of colours that are named by number;
- ``picture`` makes an upright sRGB JPEG of the parts;
- ``sandbox`` drops all rights but memory, time and three pipes;
- ``__main__`` enters the sandbox and serves.
"""
