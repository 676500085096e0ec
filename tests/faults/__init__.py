"""Faults over real processes and sockets: nothing lost, nothing doubled; the CRM's ledger is the judge.

``pytest tests/faults`` runs a short form of every fault, ``pytest -m long tests/faults`` the long form of
half an hour, and ``python -m tests.faults.soak --receipts 100000`` all of them at random under load.

* ``launch`` starts adapters and workers that can be told to die at a named point, or to have a wrong clock
* ``proxy`` is a bad line, between a worker and a CRM or in front of PostgreSQL
* ``crms`` has one CRM for each way of reconciling a doubt, with a ledger of what was really done
* ``stage`` puts it together and sends receipts; ``judge`` compares what everybody says in the end
"""
