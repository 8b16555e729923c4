"""`python -m sbr` is the `sbr` command (what `accelerate launch -m sbr` needs)."""

from sbr.cli.main import main

main()
