"""Services that somebody else could have written: the suite has to be right about them.

Made from the wire contract alone; they share no line with the adapter, and nothing here is meant for use.
``shop`` is what such a service knows, ``clean`` speaks the contract for it, ``other`` speaks it with every
choice that the contract leaves made differently, ``mutants`` are copies of ``clean`` with one defect each.
"""
