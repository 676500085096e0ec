"""The command ``check``: what ``adapter.checking`` finds, and two looks of its own.

``--phone`` walks a real person through the methods, ``--writes`` writes into a test CRM.
"""
