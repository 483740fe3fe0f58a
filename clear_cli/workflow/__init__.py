"""The use-cases: what the commands do, without the command line."""
