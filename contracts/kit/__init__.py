"""What the two programs, ``koshelek-adapter`` and ``koshelek-contract``, do alike: settings and terminal.

It knows neither of them: whoever needs it imports it, and it imports nothing of this repository.
"""
