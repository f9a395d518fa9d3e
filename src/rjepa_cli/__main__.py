"""Run `rjepa-cli` as `python -m rjepa_cli`."""

from .main import main

if __name__ == "__main__":
    main(prog_name="rjepa-cli")
