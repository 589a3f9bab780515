"""Compiling: a function of tensors as machine code for one shape of its inputs, where that pays."""

import functools
import inspect
import os
import types
import warnings
from collections.abc import Callable
from typing import Any

import torch

from variform.system.files import cache_folder


def compiled(
    function: Callable[..., Any], device: torch.device, *, only: bool = False
) -> Callable[..., Any]:
    """`function` compiled as a whole for the shapes of its first call, with the random numbers that torch draws itself.

    Its backward pass may be part of it. Compiled code is kept between runs, in the user's cache folder.

    Args:
        function: Of tensors and plain values.
        device: Where the tensors are.
        only: Never called with anything but what it is first called with, so that nobody need look.

    Raises:
        RuntimeError: at the first call, when it cannot be compiled (for example without a C++ compiler).
    """
    # Before torch's compiler is imported, which else names a folder that the next start of the machine empties.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    import torch._dynamo as dynamo  # slow to import

    options: dict[str, Any] = {"fallback_random": True, "cpp_wrapper": device.type == "cpu"}
    if only:
        options["guard_filter_fn"] = torch.compiler.skip_all_guards_unsafe
    # torch finds what it has compiled by the code of a function: without one of its own, a function whose inputs nobody
    # looks at would be taken for another that shares its code, such as the same method of another object.
    bound = getattr(function, "__self__", None)
    plain: Any = getattr(function, "__func__", function)
    own: Any = types.FunctionType(
        plain.__code__.replace(),
        plain.__globals__,
        plain.__name__,
        plain.__defaults__,
        plain.__closure__,
    )
    own.__kwdefaults__ = plain.__kwdefaults__
    own = own if bound is None else types.MethodType(own, bound)
    code = torch.compile(own, fullgraph=True, dynamic=False, options=options)
    is_first = True

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal is_first
        if not is_first:
            return code(*arguments, **named)
        with dynamo.config.patch(trace_autograd_ops=True), warnings.catch_warnings():
            # Torch warns of what its compiler does itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            result = code(*arguments, **named)
        is_first = False
        return result

    return call


@functools.cache
def eager(kind: type[torch.optim.Optimizer]) -> Any:
    """A kind of torch's optimisers that does the same without importing torch's compiler, which takes a second.

    torch has its compiler leave the methods of an optimiser alone, and imports it to say so when one is first called.
    Nothing here compiles them.

    Args:
        kind: A class of torch.optim.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> weight.grad = torch.ones(1)
        >>> eager(torch.optim.SGD)([weight], lr=0.25).step()
        >>> weight.item()
        0.75
    """
    names = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)
