"""The version of variform, which its files and its messages carry."""

__version__ = "0.1.0"
