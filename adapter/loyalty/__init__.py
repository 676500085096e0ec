"""What the calls of the Loyalty Online API mean.

Use cases, one module each, as functions of a ``Programme``. Nothing here may know the web server, an
HTTP client or SQL; it speaks to the CRM through ``crm_backends.ports`` and to the adapter's own
database through ``adapter.loyalty.ports``.
"""
