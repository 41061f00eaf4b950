"""`python -m unveil`, and so `accelerate launch -m unveil` and `torchrun -m unveil`: the command line."""

from unveil.cli import main

if __name__ == "__main__":
    main()
