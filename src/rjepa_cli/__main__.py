"""`python -m rjepa_cli` is `rjepa-cli`."""

from .main import main

if __name__ == "__main__":
    main(prog_name="rjepa-cli")
