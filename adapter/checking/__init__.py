"""Whether settings, database and CRMs are what the adapter needs: ``check`` and the console ask here.

One module a subject; ``findings`` has their order. Nothing is changed by looking. It may not know how
findings are shown, nor who asks.
"""
