"""``python -m adapter`` is the same as the ``koshelek-adapter`` command."""

from adapter.commands.app import main

if __name__ == "__main__":
    main()
