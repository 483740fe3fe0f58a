"""Damaged and hostile inputs: whatever the bytes, a command ends well or says what is wrong with them.

    python -m tests.fuzz --inputs 100000

- `corpus` makes small sound files of every kind that is read, and says which commands read them;
- `mutations` damages them, knowing how each kind is built;
- `worker` runs the commands on them in a process of its own, with bounds on time and memory;
- `__main__` shares inputs out to workers, and outlives those that crash or hang.

An input is known by its number: the same number is the same input.
"""
