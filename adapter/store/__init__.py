"""The adapter's own PostgreSQL: cards, consents, operations. All SQL of ``adapter`` lives here.

It implements ``adapter.loyalty.ports`` and may not know any CRM or the wire.
"""
