"""Rows over HTTP as .npy files, in both ways, beside JSON: a tenth of the work, and no digit is lost."""

import io
import json
import math
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import numpy as np
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import WrapValidator

Array = np.ndarray[Any, np.dtype[Any]]

NPY = "application/x-npy"
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def described(field: str, *, answers: bool = True) -> dict[str, Any]:
    """What OpenAPI says of a request that may come as a .npy file, and of an answer that may leave as one.

    Args:
        field: The field of the JSON that the file stands for; the others stand in the query, each as JSON.
        answers: Whether the answer may be one, where `Accept` names its type.
    """
    file = {NPY: {"schema": {"type": "string", "format": "binary", "title": field}}}
    about: dict[str, Any] = {"requestBody": {"content": file}}
    return about | (answered() if answers else {})


def answered() -> dict[str, Any]:
    """What OpenAPI says of an answer that may leave as a .npy file."""
    file = {NPY: {"schema": {"type": "string", "format": "binary"}}}
    return {"responses": {"200": {"content": file}}}


class ArrayRoute(APIRoute):
    """A route to which a .npy file may be sent where it is `described`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the JSON that a file and the query stand for."""
        handler = super().get_route_handler()
        content = (self.openapi_extra or {}).get("requestBody", {}).get("content", {})

        async def handled(request: Request) -> Response:
            if NPY in content and _type_of(request) == NPY:
                array = array_of(await request.body())
                fields = {name: _plain(text) for name, text in request.query_params.items()}
                request = _Fields(request, fields | {content[NPY]["schema"]["title"]: array})
            return await handler(request)

        return handled


class _Fields(Request):
    """A request whose JSON is these fields."""

    def __init__(self, request: Request, fields: dict[str, Any]) -> None:
        headers = [(name, value) for name, value in request.headers.raw if name != b"content-type"]
        scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
        super().__init__(scope, request.receive)
        self.fields = fields

    async def body(self) -> bytes:
        return b"{}"  # it has one

    async def json(self) -> Any:
        return self.fields


def _type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def wants_array(request: Request) -> bool:
    """Whether the answer is to leave as a .npy file."""
    return NPY in request.headers.get("accept", "").lower()


def as_file(values: Array) -> Response:
    """An answer that is a .npy file."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return Response(file.getvalue(), media_type=NPY)


def array_of(content: bytes) -> Array:
    """The array in the bytes of a .npy file, which must be as long as its head says.

    Args:
        content: The bytes.

    Raises:
        ValueError: for what is no such file, and for other values than numbers.

    Example:
        >>> array_of(as_file(np.array([[1.0, 2.0]])).body).tolist()
        [[1.0, 2.0]]
    """
    file = io.BytesIO(content)
    try:
        shape, is_by_column, dtype = _READERS[np.lib.format.read_magic(file)](file)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"a body of the type {NPY} must be a .npy file of an array of numbers; got something else. Write it with "
            "numpy.save."
        ) from error
    rest = content[file.tell() :]
    if dtype.kind not in "fiub" or min(shape, default=1) < 0:
        raise ValueError(f"an array must hold numbers; got {dtype}. Give numbers.")
    size = math.prod(shape) * dtype.itemsize
    if len(rest) != size:
        raise ValueError(
            f"a .npy file of the shape {shape} and type {dtype} must have {size} bytes behind its head; got "
            f"{len(rest)}. Send all of it."
        )
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if is_by_column else "C")


def or_array(kind: Any, shape: tuple[int, ...], most_rows: int, largest: float) -> Any:
    """The type of rows as JSON has them, which an array of rows of this shape may stand for.

    Args:
        kind: The type.
        shape: Of a row.
        most_rows: Of one request.
        largest: The greatest absolute value.
    """

    def checked(value: Any, handler: Callable[[Any], Any]) -> Any:
        if not isinstance(value, np.ndarray):
            return handler(value)
        if value.shape[1:] != shape or not value.ndim or not 1 <= len(value) <= most_rows:
            wanted = ", ".join(str(size) for size in ("N", *shape))
            raise ValueError(
                f"an array must have the shape ({wanted}) with N from 1 to {most_rows}; got {value.shape}"
            )
        if bool((np.abs(value.astype(np.float64)) > largest).any()):
            raise ValueError(f"no number may be beyond {largest:g}")
        return value

    return Annotated[kind, WrapValidator(checked)]
