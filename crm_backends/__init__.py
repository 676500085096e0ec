"""CRM drivers: how the adapter speaks to the system a partner already has.

Nothing here may import from ``adapter``. ``model`` and ``ports`` are what a driver is written
against; ``registry`` finds drivers by name; each folder is one driver.
"""
