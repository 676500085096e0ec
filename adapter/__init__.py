"""koshelek-adapter: the Koshelek Loyalty Online API in front of the CRM a partner already has."""

from importlib.metadata import version

__version__ = version("koshelek-adapter")
