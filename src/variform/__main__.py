"""`python -m variform` is the command line."""

from variform.faces.cli import main

if __name__ == "__main__":
    main()
