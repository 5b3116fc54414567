"""`python -m partstream_export`."""

from partstream_export.cli import main

main()
