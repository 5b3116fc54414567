"""`python -m partstream_server` is the partstream command."""

from partstream_server.app.cli import main

main()
