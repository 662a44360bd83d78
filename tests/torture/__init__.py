"""Faults, counted: gateways, relays, three RabbitMQ nodes and PostgreSQL, real processes with a proxy of ours between
all of them, are killed, cut off, filled up and confused while members post, correct, join, leave and read.

    python -m tests.torture --messages 100000

    world        the processes and the proxies; who dies unasked is started again, and told
    people       the members, their queues, and the registry as it changes: what the model decides by
    load         posters: sign, post, repeat what was not answered, keep every receipt
    recipients   applications that read, deduplicate, settle, and remember all they were given
    faults/      each fault a function with a name; `plan` says which comes when
    judge        accepted, lost, duplicated, unexpected: against `tests.model` and the ledger, when all is quiet again
    run          all of it in order; `__main__` is its command line

Nothing here is imported by the product. The same seed plans the same faults and the same load; what meets what is for
the machine to say.
"""
