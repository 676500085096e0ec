"""What ``koshelek-adapter`` and ``koshelek-contract`` share: parts of settings, terminal, pages, languages.

It may not know either of them, and imports nothing of this repository.
"""
