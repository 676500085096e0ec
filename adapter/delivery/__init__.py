"""Carrying recorded operations to the CRM: what must not be lost, and must not happen twice.

It knows the ledger and the use case that performs an operation; it may not know any driver or the wire.
"""
