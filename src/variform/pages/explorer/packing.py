"""Bytes of a page compressed, as text that may stand in HTML; script/loader.js undoes it.

Base64 writes six bits in a character. Here two characters of 91 have 13, which is 8 % shorter.
"""

import zlib

import numpy as np

_DIGITS = np.array([code for code in range(32, 127) if chr(code) not in '"&<>'], np.uint8)
"""Printable ASCII without what means anything to HTML: 91 characters."""
_BITS = 13  # 2^13 <= 91^2
_AT_ONCE = 2**13 * _BITS  # bytes: a multiple of 13, so that parts stand end to end


def packed(content: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> str:
    """Compressed, as text.

    Args:
        content: The bytes.
        strategy: Of zlib. `Z_HUFFMAN_ONLY` fits weights: no sequence of them comes again, and what looks like it costs
            more than it saves.

    Example:
        >>> set(packed(bytes(range(256)))) & set('"&<>')
        set()
    """
    press = zlib.compressobj(9, strategy=strategy)
    pressed = press.compress(content) + press.flush()
    return "".join(
        as_text(pressed[start : start + _AT_ONCE]) for start in range(0, len(pressed), _AT_ONCE)
    )


def as_text(content: bytes) -> str:
    """Bits from the lowest of the first byte on; of each 13 the lower digit of base 91 first.

    Up to six bits that are left at the end are one character.

    Args:
        content: The bytes.

    Example:
        >>> as_text(b"\\x00"), as_text(b"\\x5b\\x00\\x01")
        ('  ', ' !* ')
    """
    bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
    left = len(bits) % _BITS
    groups = np.pad(bits, (0, -len(bits) % _BITS)).reshape(-1, _BITS)
    high, low = np.divmod(groups @ (1 << np.arange(_BITS)), len(_DIGITS))
    text = _DIGITS[np.stack([low, high], 1)].tobytes().decode("ascii")
    return text[:-1] if 0 < left <= _BITS // 2 else text
