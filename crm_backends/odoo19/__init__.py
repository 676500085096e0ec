"""Odoo 19, described in ``connector.yaml``; there is no code of its own."""
