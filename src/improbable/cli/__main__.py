"""``python -m improbable.cli``."""

from improbable.cli import main

main()
