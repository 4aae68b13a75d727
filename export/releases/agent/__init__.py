"""Makes what the operator wants live on one host: ``python -m export.releases.agent RELEASE --triton HOST:PORT``.

One runs beside each Triton, or beside several that share the folder RELEASE. It follows rollout.json::

    wanted: the live version, the one before it, and the one on trial
        fetch ─► verify ─► load beside the others ─► warm ─► try with a picture ─► ready
    live:    as soon as the wanted one is ready, ``live`` is written: the next request gets it
    unwanted: no new requests ─► those that run end ─► unload

A version that fails on this way is not switched to: host.json and the log say why, and what was live goes on. All of it
is in files, so a kill at any moment loses nothing: the agent that is started next goes on from there. The way of one
version takes seconds to minutes; meanwhile the document is looked at ten times a second, so a rollback, whose graphs
are loaded still, takes no longer than that.

With ``--source`` RELEASE is this host's own folder, and what shall be live is read elsewhere. Without an agent,
``python -m export release`` writes ``live`` itself, and a restart of Triton loads the graphs.

::

    agent       looks, switches, and gives the one thread that works the next thing to do
    bringing    the way of a version onto the servers
    leaving     its way off them
    restarting  the servers, one after the other; and the memory that asks for it
    wanted      which versions are wanted, and whose turn it is
    record      host.json, and what is said
"""

from export.releases.agent.agent import Agent as Agent
