"""Design: spaces to search in, what is known and valid in them, and which designs are good and different.

`space_of`, `Neighbours` and the other names of this room are documented in docs/design.md.
"""
