"""Talon.One, described in ``connector.yaml``; there is no code of its own."""
