"""The contract suite: tells whether a Loyalty Online API keeps the contract, whoever wrote it.

A black box test: it knows the wire contract alone, and nothing of the adapter.
"""
