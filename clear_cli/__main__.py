"""`python -m clear_cli`."""

from clear_cli.cli import main

if __name__ == "__main__":
    main()
