"""``koshelek-contract serve``: the suite as pages for people, in a browser on the same machine.

A service is tested with live progress, the report is read and downloaded, earlier runs are compared, and
every method is played by hand as on Koshelek's phone screen. What was typed, passwords included, stays in the
memory of this process, and goes with it. Pages are made here and need no script but for what moves. It may
not know how a service is judged.
"""
