"""The process that decodes strangers' pictures, with little memory and time, apart from everything else.

``orchestrator.uploads`` runs it (``python -m orchestrator.decoder``) and talks to it through pipes. It imports
nothing but Pillow and the standard library, and nothing of the orchestrator imports it.

- ``containers`` takes a file apart and hands on what pixels, colours and orientation need, and no byte more;
- ``orientation`` reads how the photo lies;
- ``picture`` turns that into an upright sRGB JPEG;
- ``__main__`` gives up what a decoder has no use for (files, sockets, time, memory) and serves.
"""
