"""`python -m partstream_server` is the partstream command."""

from partstream_server.cli import main

main()
