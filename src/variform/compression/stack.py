"""The message as constriction keeps it, with the bits of `codec.Stack` in a hundredth of its time."""

from typing import Any

import numpy as np

from variform.system.extras import needing

Array = np.ndarray[Any, np.dtype[Any]]


class FastStack:
    """`codec.Stack` by constriction's coder.

    Args:
        words: The message, uint32.

    Example:
        >>> stack = FastStack(np.arange(1, 9))
        >>> stack.push(np.array([1, 0]), np.array([[0.2, 0.8], [0.5, 0.5]]))
        >>> stack.pop(np.array([[0.2, 0.8], [0.5, 0.5]])), len(stack)
        (array([1, 0], dtype=int32), 8)
    """

    def __init__(self, words: Array) -> None:
        with needing("compress", "compression"):
            import constriction
        stream: Any = constriction.stream  # pyrefly: ignore[missing-attribute] (compiled)
        self._coder = stream.stack.AnsCoder(np.asarray(words, np.uint32))
        self._law = stream.model.Categorical(perfect=False)

    def __len__(self) -> int:
        """Words that the message takes."""
        return self._coder.num_words()

    def push(self, symbols: Array, shares: Array) -> None:
        """Store symbols (n,), each under its shares (n, K), so that the first one is read first."""
        self._coder.encode_reverse(
            symbols.astype(np.int32), self._law, np.ascontiguousarray(shares)
        )

    def pop(self, shares: Array) -> Array:
        """Take symbols off, one for each row of shares (n, K)."""
        return self._coder.decode(self._law, np.ascontiguousarray(shares))

    def all_words(self) -> Array:
        """The message, uint32."""
        return self._coder.get_compressed()
