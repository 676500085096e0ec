"""Dataclasses that mypy holds frozen, for objects that every request makes.

``from crm_backends.frozen import dataclass`` in place of the standard one. Python's own frozen dataclass
sets each field through ``object.__setattr__``, so that an object takes three times as long to make; accepting
a receipt sets some fifty fields. Here nothing but mypy forbids a change. Equality and hash are those of a
frozen dataclass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

Class = TypeVar("Class")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool, slots: bool = False, repr: bool = True
    ) -> Callable[[type[Class]], type[Class]]:
        """A dataclass as the standard one, but for ``frozen``, which has to be said and is left to mypy."""
        if not frozen:
            raise TypeError("use the standard dataclass")
        return dataclasses.dataclass(slots=slots, repr=repr, unsafe_hash=True)
