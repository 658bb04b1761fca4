"""``python -m wattbridge`` is the command ``wattbridge``."""

from wattbridge.cli import main

main()
