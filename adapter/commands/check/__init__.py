"""``check``: proves that settings, database and CRMs are what the adapter needs, and says what to do.

One module per kind of look; ``findings`` has their order. It may not know how findings are printed.
"""
