"""The Loyalty Online API that Koshelek calls, as data: clauses and one OpenAPI document per version.

It may not know any service that implements it.
"""

from contracts.loyalty_online.clauses import VERSIONS, clauses, untested

__all__ = ["VERSIONS", "clauses", "untested"]
