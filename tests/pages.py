"""What an explorer page holds, read back from its file."""

import json
import re
import zlib

import numpy as np

DIGITS = [chr(code) for code in range(32, 127) if chr(code) not in '"&<>']


def unpacked(text):
    """The bytes of packed text: two digits of base 91, the lower one first, are 13 bits, one at the end six."""
    places = {character: place for place, character in enumerate(DIGITS)}
    digits = np.array([places[character] for character in text] + [0] * (len(text) % 2), int)
    numbers = digits[::2] + 91 * digits[1::2]
    bits = (numbers[:, None] >> np.arange(13)) & 1
    whole = len(text) // 2 * 13 + len(text) % 2 * 6
    return np.packbits(bits.ravel()[: whole // 8 * 8].astype(np.uint8), bitorder="little").tobytes()


def part_of(page, name):
    """The bytes of one of the packed parts of a page, of its text."""
    packed = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)[1]
    return zlib.decompress(unpacked(packed))


def json_of(page):
    """The text of what a page shows, as JSON."""
    return part_of(page, "data").decode("ascii")


def contents_of(page):
    """What a page shows."""
    return json.loads(json_of(page))["contents"]
