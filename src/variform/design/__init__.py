"""Spaces to search for designs in, what is known and valid there, which designs are good and different, files of them.

`space_of`, `Neighbours` and the other names of this room are documented in docs/design.md.
"""
