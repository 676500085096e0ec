"""Connectors: a CRM with an HTTP API, described in a file of YAML and served as every driver.

``spec_of`` makes a driver of a file. How such a file is written is in README.md beside this module.
"""

from crm_backends.connector.problems import ConnectorError, Problem
from crm_backends.connector.reading import shipped
from crm_backends.connector.spec import spec_of

__all__ = ["ConnectorError", "Problem", "shipped", "spec_of"]
