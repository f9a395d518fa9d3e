"""How this program is called here, for the commands that it prints to be run next."""

from __future__ import annotations

import os
import shutil
import sys

NAME = "rjepa-cli"


def program() -> str:
    """Return the word or words that call this program, ready to be pasted into a shell.

    That is its name if PATH finds this installation by it, else the way it was called.
    """
    from rjepa_adapters.optional import short_path
    from rjepa_core.text import shell_word

    called = sys.argv[0]
    folder, file = os.path.split(called)
    if file == "__main__.py" and os.path.basename(folder) == "rjepa_cli":
        return f"{shell_word(short_path(sys.executable))} -m rjepa_cli"
    if os.path.splitext(file)[0] != NAME:
        # Called from Python.
        return NAME
    found = shutil.which(NAME)
    if found is not None and os.path.exists(called) and os.path.samefile(found, called):
        return NAME
    return shell_word(short_path(called))
