"""The console: pages for the people who run the adapter, on the management port, behind a login.

HTML comes from the server; it works without script. It asks the rest of the adapter through ``ports`` alone.
"""
