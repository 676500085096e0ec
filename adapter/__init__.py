"""koshelek-adapter: the Koshelek Loyalty Online API in front of the CRM a partner already has."""

__version__ = "0.1.0"
