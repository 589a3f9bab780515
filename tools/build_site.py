"""Build the site of the documentation, one language after the other: `python tools/build_site.py site`.

Then may follow the folder of what is kept, and after it options of Sphinx.
"""

import subprocess
import sys
from pathlib import Path

from site_languages import DOCS, LANGUAGES, source_of


def build(to: Path, kept: Path, options: list[str]) -> None:
    """Write the site into a folder; what Sphinx needs for the next time goes into another. A warning is an error."""
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "-c", str(DOCS)]
    for language in LANGUAGES:
        out = to if language == "en" else to / language
        folders = [kept / language, source_of(language), out]
        subprocess.run([*sphinx, *options, "-t", language, "-d", *map(str, folders)], check=True)


if __name__ == "__main__":
    to = Path(sys.argv[1])
    try:
        build(to, Path(sys.argv[2]) if len(sys.argv) > 2 else to / "kept", sys.argv[3:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
