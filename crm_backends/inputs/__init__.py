"""The one place where what people, tills and scanners write is cleaned and read.

Phones, e-mails, names, dates and the QR codes of receipts come in by the API, out of a CRM's rows, from files
and from the command line; all of them are read here, so that one person has one form. Nothing here knows the
adapter, a CRM or a web server, and no value is put into an error.
"""

from crm_backends.inputs.amounts import amount_of
from crm_backends.inputs.emails import read_email
from crm_backends.inputs.personal import birth_date_of, day_of, sex_of
from crm_backends.inputs.phones import (
    UnreadablePhone,
    are_e164,
    is_region,
    national_digits,
    read_crm_phone,
    read_phone,
    wire_phone,
)
from crm_backends.inputs.text import is_left_out, one_line, shape, visible

__all__ = [
    "UnreadablePhone",
    "amount_of",
    "are_e164",
    "birth_date_of",
    "day_of",
    "is_left_out",
    "is_region",
    "national_digits",
    "one_line",
    "read_crm_phone",
    "read_email",
    "read_phone",
    "sex_of",
    "shape",
    "visible",
    "wire_phone",
]
