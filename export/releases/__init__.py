"""Releases on disk, from their publishing to the day they are removed: ``python -m export release``.

::

    releases/<bundle>/
        live                               the number of the version that this host's Triton serves, as text
        rollout.json                       what the operator wants: live, previous, withdrawn, a canary (rollout.py)
        versions/<n>/release.json          the parts of version n; it never changes
        versions/<n>/tokenizer.json
        versions/<n>/report.html           for people, also as report.md; in figures proof.json
        versions/<n>/files.json            the manifest: every file of the version with its SHA-256
        versions/<n>/checked.json          added on each host: when its files were last found whole
        versions/<n>/profile.json          added at any time: how long its graphs take on the device at hand
        models/<model>/config.pbtxt        a Triton model repository of its own; all its versions are served, so that
        models/<model>/<n>/model.onnx      a release runs its own graphs while the next one arrives; a graph that a
                                           version has in common with an earlier one keeps the earlier number

What is published is never overwritten. A version is there as soon as its ``versions/<n>`` is, which is moved to its
place when everything that it names is in place; and it is live as soon as ``live`` says so, which is replaced in one
rename. So a kill or a full disk at any moment leaves a folder that works, with the live version that it had.

The files are the truth, and no server is asked: a rollback works while Redis or Triton is down.
"""
