"""`python -m sbr`: the same as the command `sbr`, also for `accelerate launch -m sbr grpo RECIPE`."""

from sbr.cli.main import main

main()
