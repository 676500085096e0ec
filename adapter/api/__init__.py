"""The public port: the Loyalty Online API on the wire.

It turns requests into calls of ``adapter.loyalty`` and results into string-typed JSON. aiohttp lives
here and in ``adapter.ops``. It may not know SQL, drivers or how an operation is delivered.
"""
