"""``python -m hipnode``."""

from hipnode.cli import main

main()
