"""ONNX: the steps of `lowering` as graphs that other programs run; the only importer of onnx and onnxruntime."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from variform.config.toml import to_dict
from variform.distributions.law import LOG_2_PI
from variform.export.lowering import Program, Step, knows_spread, lower_decoder, lower_encoder
from variform.export.scoring import Score, lower_prior, lower_score
from variform.model.vae import VAE
from variform.version import __version__

Array = np.ndarray[Any, np.dtype[Any]]

_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
_OPSET, _IR = 17, 8  # of 2022: programs that are not the newest read them too


def to_onnx(vae: VAE) -> dict[str, onnx.ModelProto]:
    """The encoder, the decoder, the score and the prior as ONNX graphs in the data's own units.

    encoder: x (batch, *event) to mean and std of q(z|x), (batch, latent_dim). decoder: z (batch, latent_dim) to x, the
    mean of p(x|z), and std, its standard deviation, where the likelihood states one. Those of a conditional model take
    a `context` (batch, context_dim) too. score: x and noise (batch, samples, latent_dim), standard normal, to log_px
    (batch,), the importance-weighted bound in nats. prior: noise (batch, latent_dim), and of a mixture uniform
    (batch,), to draws z (batch, latent_dim). Score and prior are left out where they have no steps. All numbers are
    float32, but for x and std of data so far from zero that float32 does not tell them apart, which are float64. The
    batch has any size, and preprocessing is in the graph. Metadata say what the columns, bounds and contexts are.

    Args:
        vae: A VAE made by `build_vae`.

    Raises:
        ValueError: for a model whose parts have no steps, such as a posterior on a flow.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> graphs = to_onnx(build_vae(ModelConfig(latent_dim=2, hidden=(8,)), read("digits").schema))
        >>> [item.name for item in graphs["encoder"].graph.output]
        ['mean', 'std']
        >>> sorted(graphs)
        ['decoder', 'encoder', 'prior', 'score']
    """
    assert vae.schema is not None and vae.config is not None  # as of all that build_vae made
    schema = vae.schema.to_dict()
    about = {"variform": __version__, "model": to_dict(vae.config), "schema": schema}
    metadata = {
        "variform": json.dumps(about, sort_keys=True),
        "columns": ", ".join(vae.schema.columns) or "pixels",
        "units": "the data's own; latent points have none",
        "low": json.dumps(vae.schema.low),
        "high": json.dumps(vae.schema.high),
        "context": json.dumps(schema["conditions"]),
    }
    results = ("x", "std") if knows_spread(vae) else ("x",)
    encoder, decoder = lower_encoder(vae), lower_decoder(vae, spread=len(results) > 1)
    graphs = {
        "encoder": _graph(encoder, "encoder", "x", ("mean", "std"), metadata),
        "decoder": _graph(decoder, "decoder", "z", results, metadata),
    }
    with suppress(ValueError):
        graphs["score"] = _score(encoder, lower_score(vae), vae.latent_dim, metadata)
    with suppress(ValueError):
        graphs["prior"] = _prior(lower_prior(vae), metadata)
    return graphs


def _score(encoder: Program, score: Score, dim: int, metadata: dict[str, str]) -> onnx.ModelProto:
    """x and noise (batch, samples, dim), standard normal, to the bound of log p(x), (batch,)."""
    writer = _Writer(encoder)
    node, constant = writer.node, writer.constant
    moments = writer.steps(encoder.steps, "x", 1 + len(encoder.in_shape))
    moments = node("Reshape", moments, constant(np.array([0, 2, dim])))
    mean, std = writer.halves(moments)  # (batch, 1, dim)
    writer.begin("seen", score.seen)
    seen = writer.steps(score.seen.steps, "x", 1 + len(score.seen.in_shape))
    seen = node("Reshape", seen, constant(np.array([0, *score.seen.out_shape])))
    z = node("Add", mean, node("Mul", std, "noise"))
    parts = [z, writer.repeated(std), "noise", writer.repeated(writer.for_samples(seen))]
    draws = node("Concat", *parts, axis=2)
    writer.begin("weight", score.weight)
    if score.weight.context_dim:
        contexts = writer.repeated(writer.for_samples("context"))
        flat = constant(np.array([-1, score.weight.context_dim]))
        writer.context = node("Reshape", contexts, flat)
    flat = node("Reshape", draws, constant(np.array([-1, *score.weight.in_shape])))
    weights = writer.steps(score.weight.steps, flat, 2)
    weights = node("Reshape", weights, node("Shape", "noise", end=2))
    samples = writer.number(node("Shape", "noise", start=1, end=2))
    node("Sub", writer.log_sum_exp(weights), node("Log", samples), outputs=["log_px"])
    noise = helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["batch", "samples", dim])
    inputs = [_tensor("x", encoder.in_shape, encoder.in_type), noise]
    if score.weight.context_dim:
        inputs.append(_tensor("context", (score.weight.context_dim,)))
    return _model(writer, "score", inputs, [_tensor("log_px", ())], metadata)


def _prior(program: Program, metadata: dict[str, str]) -> onnx.ModelProto:
    """Noise, and of a mixture uniform numbers, to draws of p(z)."""
    writer = _Writer(program)
    (dim,) = program.out_shape
    inputs, noise = [_tensor("noise", (dim,))], "noise"
    if program.in_shape != program.out_shape:
        inputs.append(_tensor("uniform", ()))
        column = writer.node("Unsqueeze", "uniform", writer.constant(np.array([1])))
        noise = writer.node("Concat", "noise", column, axis=1)
    writer.node("Identity", writer.steps(program.steps, noise, 2), outputs=["z"])
    return _model(writer, "prior", inputs, [_tensor("z", (dim,))], metadata)


def _graph(
    program: Program, name: str, source: str, results: Sequence[str], metadata: dict[str, str]
) -> onnx.ModelProto:
    writer = _Writer(program)
    last = writer.steps(program.steps, source, 1 + len(program.in_shape))
    count, *rest = program.out_shape  # results are side by side along axis 1
    parts = [last]
    if len(results) > 1:
        whole = writer.node("Reshape", last, writer.constant(np.array([0, count, *rest])))
        parts = [f"{result}_rows" for result in results]
        writer.node("Split", whole, outputs=parts, axis=1)
    shape = (count // len(results), *rest) if name == "decoder" else (*rest,)
    for part, result in zip(parts, results, strict=True):
        writer.node("Reshape", part, writer.constant(np.array([0, *shape])), outputs=[result])
    inputs = [_tensor(source, program.in_shape, program.in_type)]
    if program.context_dim:
        inputs.append(_tensor("context", (program.context_dim,)))
    outputs = [_tensor(result, shape, program.out_type) for result in results]
    return _model(writer, name, inputs, outputs, metadata)


def _model(
    writer: "_Writer",
    name: str,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    metadata: dict[str, str],
) -> onnx.ModelProto:
    """The graph of what was written, checked."""
    graph = helper.make_graph(writer.nodes, name, inputs, outputs, writer.initializers)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR
    )
    model.producer_name, model.producer_version = "variform", __version__
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def _tensor(name: str, shape: Sequence[int], dtype: str = "float32") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _TYPES[dtype], ["batch", *shape])


class _Writer:
    """Nodes and constants of a graph, as the steps of a program come."""

    def __init__(self, program: Program) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.written: set[str] = set()
        self.context = "context"
        self.begin("", program)

    def begin(self, prefix: str, program: Program) -> None:
        """What follows are the steps of `program`, whose arrays have names of their own."""
        self.prefix, self.arrays = prefix, program.weights

    def for_samples(self, rows: str) -> str:
        """From (batch, N) to (batch, 1, N)."""
        return self.node("Unsqueeze", rows, self.constant(np.array([1])))

    def repeated(self, rows: str) -> str:
        """From (batch, 1, N) to (batch, samples, N)."""
        one = self.constant(np.array([1]))
        samples = self.node("Shape", "noise", start=1, end=2)
        return self.node("Expand", rows, self.node("Concat", one, samples, one, axis=0))

    def node(
        self,
        op: str,
        *inputs: str,
        outputs: Sequence[str] | None = None,
        **attributes: Any,
    ) -> str:
        """A node; gives the name of its (first) result."""
        outputs = outputs or [f"h{len(self.nodes)}"]
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, values: Array | float) -> str:
        array = np.asarray(values)
        name = f"constant{len(self.initializers)}"
        dtype = np.int64 if array.dtype.kind == "i" else np.float32
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype, order="C"), name))
        return name

    def halves(self, h: str) -> list[str]:
        """The two halves of h along axis 1."""
        parts = [f"h{len(self.nodes)}_{half}" for half in ("first", "second")]
        self.node("Split", h, outputs=parts, axis=1)
        return parts

    def array(self, name: str) -> str:
        """One of the program's arrays, written when it is first used."""
        full = f"{self.prefix}{name}"
        if full not in self.written:
            self.written.add(full)
            self.initializers.append(numpy_helper.from_array(self.arrays[name], full))
        return full

    def steps(self, steps: Sequence[Step], h: str, rank: int) -> str:
        """The steps applied to h, which has `rank` axes."""
        for step in steps:
            apply = getattr(self, f"_{step['op'].replace('-', '_')}")
            h = apply(step, h, rank)
            rank = {"reshape": 1 + len(step.get("shape", ())), "dense": 2}.get(step["op"], rank)
        return h

    def _dense(self, step: Step, h: str, rank: int) -> str:
        return self.node("Gemm", h, self.array(step["weight"]), self.array(step["bias"]), transB=1)

    def _convolve(self, step: Step, h: str, rank: int, op: str = "Conv", **more: Any) -> str:
        arrays = [self.array(step[name]) for name in ("weight", "bias") if step[name] is not None]
        return self.node(op, h, *arrays, strides=step["stride"], pads=2 * step["padding"], **more)

    def _convolve_transposed(self, step: Step, h: str, rank: int) -> str:
        return self._convolve(step, h, rank, "ConvTranspose", output_padding=step["output_padding"])

    def _map(self, step: Step, h: str, rank: int) -> str:
        function = step["function"]
        if function in _UNARY:
            op, attributes = _UNARY[function]
            return self.node(op, h, **attributes)
        if function in _COMPOSED:
            return _COMPOSED[function](self, h)
        raise ValueError(
            f"a graph must be made of known functions; got {function}. Use the model in Python."
        )

    def number(self, condition: str) -> str:
        return self.node("Cast", condition, to=TensorProto.FLOAT)

    def _continuous_bernoulli(self, step: Step, h: str, rank: int) -> str:
        """The mean by its formula, and near 0, where that cancels, by its series."""
        node = self.node
        one = self.constant(1.0)
        rest = node("Sub", one, node("Exp", node("Neg", h)))
        formula = node("Sub", node("Reciprocal", rest), node("Reciprocal", h))
        return self._near(step, h, formula)

    def _continuous_bernoulli_variance(self, step: Step, h: str, rank: int) -> str:
        """1 / h^2 - e^-h / (1 - e^-h)^2 of abs(h), and near 0 the series."""
        node = self.node
        size = node("Abs", h)
        mirrored = node("Exp", node("Neg", size))
        rest = node("Sub", self.constant(1.0), mirrored)
        far = node("Div", mirrored, node("Mul", rest, rest))
        formula = node("Sub", node("Reciprocal", node("Mul", size, size)), far)
        return self._near(step, size, formula)

    def _near(self, step: Step, h: str, formula: str) -> str:
        """Where abs(h) is below `near` the polynomial of a step, elsewhere what its formula gave."""
        *lower, highest = step["series"]
        series = self.constant(highest)
        for coefficient in reversed(lower):
            product = self.node("Mul", series, h)
            series = self.node("Add", product, self.constant(coefficient))
        is_near = self.node("Less", self.node("Abs", h), self.constant(step["near"]))
        return self.node("Where", is_near, series, formula)

    def _continuous_bernoulli_normaliser(self, step: Step, h: str, rank: int) -> str:
        """abs(h) / 2 + log((1 - e^-abs(h)) / abs(h)), and near 0 the series."""
        node = self.node
        size = node("Abs", h)
        rest = node("Sub", self.constant(1.0), node("Exp", node("Neg", size)))
        half = node("Mul", size, self.constant(0.5))
        formula = node("Add", half, node("Log", node("Div", rest, size)))
        return self._near(step, size, formula)

    def _product(self, step: Step, h: str, rank: int) -> str:
        return self.node("Mul", *self.halves(h))

    def _gate(self, step: Step, h: str, rank: int) -> str:
        first, second = self.halves(h)
        return self.node("Mul", first, self.node("Sigmoid", second))

    def _normalise(self, step: Step, h: str, rank: int) -> str:
        axes = list(range(1, rank))
        mean = self.node("ReduceMean", h, axes=axes)
        centred = self.node("Sub", h, mean)
        square = self.node("Mul", centred, centred)
        variance = self.node("ReduceMean", square, axes=axes)
        std = self.node("Sqrt", self.node("Add", variance, self.constant(step["eps"])))
        standard = self.node("Div", centred, std)
        scaled = self.node("Mul", standard, self.array(step["weight"]))
        return self.node("Add", scaled, self.array(step["bias"]))

    def _add(self, step: Step, h: str, rank: int) -> str:
        return self.node("Add", h, self.array(step["value"]))

    def _multiply(self, step: Step, h: str, rank: int) -> str:
        return self.node("Mul", h, self.array(step["value"]))

    def _clip(self, step: Step, h: str, rank: int) -> str:
        """By comparisons, which leave NaN alone; Min and Max do not promise that."""
        for name, comparison in (("low", "Less"), ("high", "Greater")):
            edge = self.array(step[name])
            h = self.node("Where", self.node(comparison, h, edge), edge, h)
        return h

    def _fill(self, step: Step, h: str, rank: int) -> str:
        return self.node("Where", self.node("IsNaN", h), self.array(step["value"]), h)

    def _cast(self, step: Step, h: str, rank: int) -> str:
        return self.node("Cast", h, to=_TYPES[step["to"]])

    def _take(self, step: Step, h: str, rank: int) -> str:
        return self.node("Gather", h, self.constant(np.array(step["places"], np.int64)), axis=1)

    def _reshape(self, step: Step, h: str, rank: int) -> str:
        return self.node("Reshape", h, self.constant(np.array([0, *step["shape"]])))

    def _context(self, step: Step, h: str, rank: int) -> str:
        context = self.context
        if rank > 2:  # a plane of each number
            context = self.node("Unsqueeze", context, self.constant(np.arange(2, rank)))
            ones = self.constant(np.array([1, 1]))
            sides = self.node("Shape", h, start=2)
            shape = self.node("Concat", ones, sides, axis=0)
            context = self.node("Expand", context, shape)
        return self.node("Concat", h, context, axis=1)

    def _branches(self, step: Step, h: str, rank: int) -> str:
        parts = [self.steps(steps, h, rank) for steps in step["branches"]]
        if step["join"] == "sum":
            return self.node("Sum", *parts)
        return self.node("Concat", *parts, axis=1)

    def _levels(self, step: Step, h: str, rank: int) -> str:
        if step["of"] == "likeliest":
            return self.number(self.node("ArgMax", h, axis=1, keepdims=0))
        if step["of"] == "total":
            return self.node("ReduceSum", h, self.constant(np.array([1])), keepdims=0)
        if step["of"] == "log-sum-exp":
            return self.log_sum_exp(h)
        if step["of"] in ("mean", "variance"):
            return self._moment_of_levels(step["of"], h, rank)
        distance = self._distances_of_logistic(step, h, rank)
        above = self.node("Sigmoid", distance)
        if step["of"] == "logistic":
            return self.node("ReduceMean", above, axes=[1], keepdims=0)
        below = self.node("Sigmoid", self.node("Neg", distance))
        passed = self.node("CumSum", below, self.constant(np.array(1)), exclusive=1)
        terms = self.node("Mul", above, self.node("Add", below, self.node("Add", passed, passed)))
        total = self.node("ReduceSum", terms, self.constant(np.array([1])), keepdims=0)
        return self.node("Mul", total, self.constant((step["count"] - 1.0) ** -2))

    def log_sum_exp(self, h: str) -> str:
        """Over axis 1, with the largest taken out of the sum."""
        least = self.constant(float(np.finfo(np.float32).min))  # minus infinity less itself is NaN
        largest = self.node("Max", self.node("ReduceMax", h, axes=[1], keepdims=1), least)
        shares = self.node("Exp", self.node("Sub", h, largest))
        axis = self.constant(np.array([1]))
        total = self.node("Log", self.node("ReduceSum", shares, axis, keepdims=0))
        return self.node("Add", total, self.node("Squeeze", largest, axis))

    def _moment_of_levels(self, of: str, h: str, rank: int) -> str:
        """The sum over k of k / (L - 1) softmax(h)_k, or of the squared distance from it."""
        share = self.node("Softmax", h, axis=1)
        shape = self.node("Shape", h, start=1, end=2)
        zero, one = self.constant(np.array(0)), self.constant(np.array(1))
        count = self.node("Squeeze", shape)
        levels = self.number(self.node("Range", zero, count, one))
        highest = self.number(self.node("Sub", count, one))
        values = self.node("Div", levels, highest)
        if rank > 2:
            values = self.node("Unsqueeze", values, self.constant(np.arange(1, rank - 1)))
        axis = self.constant(np.array([1]))
        weighted = self.node("Mul", share, values)
        if of == "mean":
            return self.node("ReduceSum", weighted, axis, keepdims=0)
        if rank == 2:  # the values have no axis of their own in a batch of plain logits
            values = self.node("Unsqueeze", values, self.constant(np.array([0])))
        distance = self.node("Sub", values, self.node("ReduceSum", weighted, axis, keepdims=1))
        squares = self.node("Mul", share, self.node("Mul", distance, distance))
        return self.node("ReduceSum", squares, axis, keepdims=0)

    def _distances_of_logistic(self, step: Step, h: str, rank: int) -> str:
        """How far the location lies above each edge between levels, in scales."""
        count = step["count"]
        location, log_scale = self.halves(h)
        ends_of_location = [self.constant(end) for end in step["locations"]]
        ends_of_log_scale = [self.constant(end) for end in step["log_scales"]]
        middle = self.node("Clip", self.node("Sigmoid", location), *ends_of_location)
        scale = self.node("Exp", self.node("Clip", log_scale, *ends_of_log_scale))
        edges = (np.arange(1, count) / count).reshape(-1, *[1] * (rank - 2))
        distance = self.node("Sub", middle, self.constant(edges))
        return self.node("Div", distance, scale)


def _log1p(writer: _Writer, h: str) -> str:
    """log(u) h / (u - 1) with u = 1 + h as it is rounded, which is exact for a small h too.

    Reference:
        Goldberg (1991), theorem 4.
    """
    node, one = writer.node, writer.constant(1.0)
    above = node("Add", h, one)
    quotient = node("Div", h, node("Sub", above, one))
    exact = node("Mul", node("Log", above), quotient)
    return node("Where", node("Equal", above, one), h, exact)


def _log_factorial(writer: _Writer, h: str) -> str:
    """By Stirling's series at y = x + 8, less log((x + 1) ... (x + 7)), as log x! = log Gamma(x + 8) - that.

    Reference:
        Abramowitz and Stegun (1964), 6.1.40.
    """
    node, constant = writer.node, writer.constant
    y = node("Add", h, constant(8.0))
    log = node("Log", y)
    inverse = node("Reciprocal", y)
    square = node("Mul", inverse, inverse)
    series = constant(1 / 1260)
    for coefficient in (-1 / 360, 1 / 12):
        series = node("Add", node("Mul", series, square), constant(coefficient))
    power = node("Mul", node("Sub", y, constant(0.5)), node("Sub", log, constant(1.0)))
    ends = node("Add", node("Mul", series, inverse), constant((LOG_2_PI - 1) / 2))
    logs = [node("Log", node("Add", h, constant(float(term)))) for term in range(1, 8)]
    return node("Sub", node("Add", power, ends), node("Sum", *logs))


def _square(writer: _Writer, h: str) -> str:
    return writer.node("Mul", h, h)


def _silu(writer: _Writer, h: str) -> str:
    return writer.node("Mul", h, writer.node("Sigmoid", h))


def _gelu(writer: _Writer, h: str) -> str:
    erf = writer.node("Erf", writer.node("Mul", h, writer.constant(0.5**0.5)))
    half = writer.node("Mul", h, writer.constant(0.5))
    return writer.node("Mul", half, writer.node("Add", erf, writer.constant(1.0)))


def _is_zero(writer: _Writer, h: str) -> str:
    return writer.number(writer.node("Equal", h, writer.constant(0.0)))


def _is_missing(writer: _Writer, h: str) -> str:
    return writer.number(writer.node("IsNaN", h))


def _step(writer: _Writer, h: str) -> str:
    is_above = writer.number(writer.node("GreaterOrEqual", h, writer.constant(0.5)))
    return writer.node("Where", writer.node("IsNaN", h), h, is_above)


_COMPOSED: dict[str, Callable[[_Writer, str], str]] = {
    "log1p": _log1p,
    "log-factorial": _log_factorial,
    "square": _square,
    "silu": _silu,
    "gelu": _gelu,
    "is-zero": _is_zero,
    "is-missing": _is_missing,
    "step": _step,
}

_UNARY: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {"alpha": 1.0}),
    "leaky-relu": ("LeakyRelu", {"alpha": 0.01}),
    "softplus": ("Softplus", {}),
    "sigmoid": ("Sigmoid", {}),
    "exp": ("Exp", {}),
    "log": ("Log", {}),
    "sqrt": ("Sqrt", {}),
    "round": ("Round", {}),
}


def answers(graph: onnx.ModelProto, inputs: dict[str, Array]) -> list[Array]:
    """What onnxruntime makes of arrays by name: one array for each output."""
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return [np.asarray(item) for item in session.run(None, inputs)]
