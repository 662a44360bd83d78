"""The folder agent: files in `out/` become signed messages with receipts, what arrives becomes files in `in/`.

One service for a team that writes no Python, and outbound only: it calls the hub and listens nowhere. docs/agent.md is
the contract; here is who keeps which part of it.

    layout.py        the folders, checked before anything moves, and the lock: one agent to a folder
    disk.py          every change to a file: whole or not there, durable once it returns
    names.py         file names from addresses and from other people's file names
    taking.py        which files are ready, and taking one by a rename
    outgoing.py      out/ → signed → posted → sent/ or refused/
    incoming.py      lease → verified → in/ → settled with an acknowledgement
    acknowledging.py acknowledge/ → posted → acknowledged/ or refused/
    received.py      what has come, for ever: (address, round) → digest
    problems.py      whether a refusal is about the file, and how it is told beside it
    status.py        counts, the last contact, the last trouble; one line an event
    agent.py         the loops: what fails is tried again, after a pause that grows

Killed at any line nothing is lost and nothing doubled: each step leaves on disk what the next one needs, and starting
is the same code as going on. Nothing here decides what a good message is: that is the hub's answer.
"""
