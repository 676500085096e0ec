"""Pages of the lists of Perx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.sandbox.server import Found


def page_of(rows: Sequence[Found], page: int, size: int) -> Sequence[Found]:
    return rows[(page - 1) * size : page * size]


def page_meta(count: int, page: int, size: int) -> dict[str, Any]:
    """The kind of page description that names the next page rather than the number of pages."""
    return {
        "count": count,
        "size": size,
        "page": page,
        "current_page": page,
        "per_page": size,
        "total_count": count,
        "prev_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page * size < count else None,
    }
