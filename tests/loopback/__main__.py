"""Installs the LoopBacks of the tests, and says where: ``python -m tests.loopback``."""

from __future__ import annotations

import sys

from . import Missing, modules

try:
    print(modules())
except Missing as missing:
    sys.exit(f"no LoopBack: {missing}")
