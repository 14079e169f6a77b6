"""`python -m common` is `espalier`."""

from common.cli import main

main()
