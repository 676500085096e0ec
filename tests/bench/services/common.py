"""What all measured services agree on: how they are started, who may ask, how many connections.

It may not know what any of them does.
"""

from __future__ import annotations

import argparse

LOGIN, PASSWORD = "koshelek", "bench-9f2c71d4e8b05a36"
POOL_SIZE = 12
"""Most database connections of one service; the adapter's default."""


def parser(description: str) -> argparse.ArgumentParser:
    """Where the database is and which port to listen on."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--database", required=True, help="PostgreSQL URL")
    made.add_argument("--port", type=int, required=True, help="port to listen on, on 127.0.0.1")
    return made
