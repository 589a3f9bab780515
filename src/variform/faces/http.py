"""A trained model over HTTP: JSON or .npy in and out, in the data's own units, with a description that programs read.

`GET /openapi.json` describes all of it, and `GET /docs` shows that to people; both need no network. What is asked is
what `Model` is asked in Python, and the numbers are the same.
"""

import dataclasses
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
)
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from variform.config.checks import Count, checked
from variform.data.dataset import Dataset
from variform.data.reading import read_rows, rows_like
from variform.data.schema import Schema
from variform.evaluation import exploration, imputation
from variform.evaluation.log_likelihood import score
from variform.evaluation.outliers import attribute
from variform.evaluation.standard_error import Estimate
from variform.export.lowering import knows_spread
from variform.export.rows import cell_text
from variform.faces.http_arrays import (
    ArrayRoute,
    answered,
    as_file,
    described,
    or_array,
    wants_array,
)
from variform.faces.model import Array, Model
from variform.pages.explorer.serving import door, routes
from variform.version import __version__

_MOST_DRAWS = 10_000_000  # rows times importance samples, of one request
_MOST_NUMBERS = 10_000_000  # in one answer
_LARGEST = 1e30  # of a number in a request, far within what float32 holds
_PROBLEM = "application/problem+json"
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)

Form = Literal["arrays", "records"]


def _without_fraction(value: Any) -> Any:
    """A whole number, which JSON may have as 3.0 too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole_within(low: int, high: int, description: str | None = None) -> Any:
    bounds = Field(ge=low, le=high, description=description, strict=True)
    return Annotated[int, bounds, BeforeValidator(_without_fraction)]


_Real = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, strict=True, allow_inf_nan=False)]


class Problem(BaseModel):
    """What is wrong with a request, as RFC 9457 says it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What must hold, what came, and what to do.")
    errors: list[dict[str, str]] = Field(
        default=[], description="Of each wrong field its JSON pointer, and what is wrong with it."
    )


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"]
    version: str


class Column(BaseModel):
    """A column of a table."""

    name: str
    title: str = Field(description="The name with its unit, if that is known.")
    kind: str
    low: float = Field(description="The least value of the training data.")
    high: float
    categories: list[str]
    gaps: bool = Field(description="Whether a value may be missing (null).")


class ConditionInfo(BaseModel):
    """What a conditional model must be told."""

    name: str
    categories: list[str] = Field(description="Empty for a number.")


class Info(BaseModel):
    """What the model is."""

    version: str
    latent_dim: int
    posterior: str
    prior: str
    likelihood: str
    measures: str = Field(description="What log-densities are of.")
    shape: list[int] = Field(description="Of one row.")
    columns: list[Column]
    conditions: list[ConditionInfo]
    takes_gaps: bool


class Codes(BaseModel):
    """Where rows lie in the latent space."""

    mean: list[list[float | None]]
    std: list[list[float | None]]


class Rows(BaseModel):
    """Rows in the data's own units, as arrays or records."""

    rows: list[Any]
    warnings: list[str] = Field(default=[], description="What must be said of these rows.")


class Decoded(Rows):
    """Rows, and where it was asked for the standard deviations of their values."""

    std: list[Any] | None = Field(
        default=None,
        description="Of every value under p(x|z), as arrays; of categories of their numbers.",
    )


class MeanWithError(BaseModel):
    """A mean over rows, its standard error (null for one row) and their number."""

    mean: float | None
    se: float | None
    n: int


class ScoresOfRows(BaseModel):
    """How likely rows are, in nats; null stands for minus infinity, and where a number is not known."""

    log_px: list[float | None] = Field(description="log p(x) by importance sampling.")
    elbo: list[float | None]
    pareto_k: list[float | None] = Field(
        description="Above 0.7 log_px of the row is not to be trusted."
    )
    attribution: list[Any] | None = Field(
        default=None,
        description="What each value of a row adds to minus its log_px, in the shape of the row, where asked for.",
    )
    nll: MeanWithError = Field(description="Of minus log_px.")
    mean_elbo: MeanWithError


class Imputed(Rows):
    """Rows without gaps."""

    missing: list[Any] = Field(description="Whether a value was missing.")
    low: list[Any] = Field(description="The lower end of the interval of each value.")
    high: list[Any]
    certainty: list[Any] = Field(
        description="Of categories the probability to be right; null for numbers that were filled in."
    )


@checked
def application(
    model: Model,
    *,
    page: str | None = None,
    names: tuple[str, ...] = (),
    rate: float = 100.0,
    most_rows: Count = 10_000,
    most_bytes: Count = 2**25,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The addresses of a model, and those of its explorer page if there is one, behind the same checks.

    Args:
        model: The model.
        page: The explorer page, whole, at `/`.
        names: By which names the server may be called, besides localhost and numeric addresses.
        rate: Requests a second that one client may go on sending.
        most_rows: Rows, points or importance samples that one request may have.
        most_bytes: That the body of a request may have.
        clock: Seconds that never go back.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> app = application(Model(build_vae(ModelConfig(latent_dim=2), read("digits").schema)))
        >>> sorted(app.openapi()["paths"])[:4]
        ['/health', '/v1/decode', '/v1/encode', '/v1/model']
    """
    app = FastAPI(
        title="variform",
        version=__version__,
        summary="A trained variational autoencoder: encode, decode, sample, score.",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        responses={"4XX": {"description": "What is wrong", "content": _content_of_problems()}},
    )
    app.router.route_class = ArrayRoute
    busy = threading.Lock()  # torch shares the cores among the threads of one call already
    if page is not None:
        app.router.routes.extend(routes(page, model.vae, busy))
    _add_pages(app)
    _add_answers(app, model, busy, most_rows)
    app.state.most_bytes = most_bytes
    app.add_exception_handler(RequestValidationError, _wrong_form)
    app.add_exception_handler(HTTPException, _wrong_request)
    app.add_exception_handler(ValueError, _wrong_values)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=most_bytes)
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    guard = door(names=names, rate=rate, clock=clock, most_bytes=most_bytes, refuse=_refusal)
    app.add_middleware(guard.cls, **guard.kwargs)
    return app


def _add_pages(app: FastAPI) -> None:
    """The documentation, whose script lies in the installed package and not at a content network."""
    app.mount("/docs/static", StaticFiles(packages=[("fastapi_offline", "static")]))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        answer = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="variform",
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="data:,",
        )
        answer.headers["Content-Security-Policy"] = _POLICY
        return answer


def _add_answers(app: FastAPI, model: Model, busy: threading.Lock, most_rows: int) -> None:
    schema, vae = model.schema, model.vae
    some_rows = or_array(_rows_type(schema, most_rows), schema.shape, most_rows, _LARGEST)
    some_given = _given_type(schema, most_rows)
    some_known = _given_type(schema, most_rows, unknown=vae.classifier is not None)
    point = Annotated[list[_Real], Field(min_length=vae.latent_dim, max_length=vae.latent_dim)]
    origin = [[0.0] * vae.latent_dim]
    some_points = or_array(
        Annotated[list[point], Field(min_length=1, max_length=most_rows, examples=[origin])],
        (vae.latent_dim,),
        most_rows,
        _LARGEST,
    )
    a_seed = _whole_within(0, 2**53 - 1, "Of all draws.")  # which every reader of JSON has exactly
    some_samples = _whole_within(2, max(2, most_rows), "Importance samples of each row.")
    some_steps = _whole_within(0, 200, "By which q(z|x) is improved.")
    a_count = _whole_within(1, most_rows)
    a_form: Any = Form if schema.columns else Literal["arrays"]

    class Asked(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

    class AskedOfRows(Asked):
        rows: some_rows
        given: some_known

    class Points(Asked):
        points: some_points
        given: some_given
        form: a_form = "arrays"
        std: bool = Field(default=False, description="Standard deviations under p(x|z) too.")

    class Draws(Asked):
        count: a_count = 1
        given: some_given
        temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
        draw: bool = Field(default=False, description="Draw from p(x|z) instead of its mean.")
        seed: a_seed = 0
        form: a_form = "arrays"

    class Scoring(AskedOfRows):
        samples: some_samples = 1000
        refine: some_steps = 0
        attribution: Annotated[
            bool, Field(description="Say what each value adds to minus log_px.")
        ] = False
        seed: a_seed = 0

    class Filling(AskedOfRows):
        level: Annotated[float, Field(gt=0, lt=1, description="Of the intervals.")] = 0.9
        samples: some_samples = 1000
        refine: some_steps = 50
        seed: a_seed = 0

    @app.get("/health")
    def health() -> Health:
        """Whether the server answers."""
        return Health(status="ok", version=__version__)

    @app.get("/v1/model")
    def info() -> Info:
        """What the model is, what its rows hold, and what it must be told."""
        return _info(model)

    @app.post("/v1/encode", response_model=Codes, openapi_extra=described("rows"))
    def encode(asked: AskedOfRows, request: Request) -> Any:
        """Mean and standard deviation of q(z|x) of every row; as .npy both, (N, 2, latent_dim)."""
        with _answering(busy):
            mean, std = exploration.encode(vae, _dataset(schema, asked.rows, asked.given))
        if wants_array(request):
            return as_file(np.stack([mean, std], 1))
        return JSONResponse({"mean": _plain(mean), "std": _plain(std)})

    @app.post("/v1/decode", response_model=Decoded, openapi_extra=described("points"))
    def decode(asked: Points, request: Request) -> Any:
        """The mean of p(x|z) at latent points; as .npy with `std` both, (N, 2, ...)."""
        _require_size(len(asked.points) * (1 + asked.std), schema)
        if asked.std and not knows_spread(vae):
            raise ValueError(
                "the likelihood must state standard deviations to be asked for them; this one has none. Leave out std."
            )
        with _answering(busy) as said:
            points = np.asarray(asked.points, dtype=np.float64)
            rows = model.decode(points, given=_told(asked.given))
            stds = model.deviations(points, given=_told(asked.given)) if asked.std else None
        if wants_array(request):
            return as_file(rows if stds is None else np.stack([rows, stds], 1))
        answer = {"rows": _rows_as(asked.form, schema, rows), "warnings": said}
        return JSONResponse(answer if stds is None else answer | {"std": _plain(stds)})

    @app.post("/v1/sample", response_model=Rows, openapi_extra=answered())
    def sample(asked: Draws, request: Request) -> Any:
        """New rows: z from the prior, then the mean of p(x|z) or a draw from it."""
        _require_size(asked.count, schema)
        with _answering(busy) as said:
            rows = model.sample(
                asked.count,
                given=_told(asked.given),
                temperature=asked.temperature,
                draw=asked.draw,
                seed=asked.seed,
            )
        if wants_array(request):
            return as_file(rows)
        return JSONResponse({"rows": _rows_as(asked.form, schema, rows), "warnings": said})

    @app.post("/v1/reconstruct", response_model=Rows, openapi_extra=described("rows"))
    def reconstruct(asked: AskedOfRows, request: Request) -> Any:
        """The mean of p(x|z) at the mean of q(z|x) of every row."""
        with _answering(busy) as said:
            dataset = _dataset(schema, asked.rows, asked.given)
            rows = exploration.reconstruct(vae, dataset)[1]
        if wants_array(request):
            return as_file(rows)
        answer = _rows_as(_form_of(asked.rows), schema, rows)
        return JSONResponse({"rows": answer, "warnings": said})

    @app.post(
        "/v1/score", response_model=ScoresOfRows, openapi_extra=described("rows", answers=False)
    )
    def scores(asked: Scoring) -> Any:
        """log p(x) of every row by importance sampling, its ELBO, and their means with standard errors."""
        _require_work(len(asked.rows), asked.samples)
        with _answering(busy):
            dataset = _dataset(schema, asked.rows, asked.given)
            dataset.schema.require(vae.likelihood.support, "the model's likelihood")
            options = {"samples": asked.samples, "refine": asked.refine, "seed": asked.seed}
            found = score(vae, dataset, **options)
            parts = None
            if asked.attribution:
                options["samples"] = max(20, asked.samples)
                parts = attribute(vae, dataset, score=-found.log_px.numpy(), **options)
        of_rows = {name: getattr(found, name) for name in ("log_px", "elbo", "pareto_k")}
        means = {"nll": Estimate.of(-found.log_px), "mean_elbo": Estimate.of(found.elbo)}
        answer = {name: _plain(values.numpy()) for name, values in of_rows.items()}
        if parts is not None:
            answer["attribution"] = _plain(parts.values)
        return JSONResponse(answer | {name: _estimate(value) for name, value in means.items()})

    @app.post("/v1/impute", response_model=Imputed, include_in_schema=any(schema.gaps))
    def impute(asked: Filling) -> Any:
        """What is missing (null) given what is observed, with intervals."""
        _require_work(len(asked.rows), asked.samples)
        with _answering(busy) as said:
            dataset = _dataset(schema, asked.rows, asked.given)
            options = {"samples": asked.samples, "refine": asked.refine, "seed": asked.seed}
            found = imputation.impute(vae, dataset, level=asked.level, **options)
        form = _form_of(asked.rows)
        parts = {name: getattr(found, name) for name in ("low", "high")}
        answer = {name: _rows_as(form, schema, values) for name, values in parts.items()}
        answer |= {name: _plain(getattr(found, name)) for name in ("missing", "certainty")}
        answer |= {"rows": _rows_as(form, schema, found.values), "warnings": said}
        return JSONResponse(answer)


# --- what comes ---------------------------------------------------------------------------------------------------


def _rows_type(schema: Schema, most_rows: int) -> Any:
    """Rows as arrays of the shape of an example, or of a table also as records by the names of its columns."""
    described = Field(
        examples=[_least_rows(schema)],
        min_length=1,
        max_length=most_rows,
        description="Rows in the data's own units, all as arrays or all as records. In a table of several kinds an "
        "array has categories by their place in `GET /v1/model` and dates by their days, a record has their texts; "
        "null is missing.",
    )
    if not schema.columns:
        row: Any = _number(schema)
        for size in reversed(schema.shape):
            row = Annotated[list[row], Field(min_length=size, max_length=size)]
        return Annotated[list[row], described]
    columns = range(len(schema.columns))
    cells = tuple(_or_null(_number(schema, column), schema, column) for column in columns)
    tuples: Any = tuple
    array = Annotated[tuples[cells], Field(strict=False)]
    fields: dict[str, Any] = {}
    for column in columns:
        cell = _or_null(_cell(schema, column), schema, column)
        fields[f"column{column}"] = (cell, Field(alias=schema.columns[column]))
    record = _model("Record", fields)
    kinds: Any = (
        Annotated[list[array], described, Tag("arrays")]
        | Annotated[list[record], described, Tag("records")]
    )
    return Annotated[kinds, Discriminator(_form_of)]


def _least_rows(schema: Schema) -> list[Any]:
    """An example: the least values of the training data."""
    row = schema.per_value(schema.low).numpy()[None]
    return _rows_as("records" if schema.columns else "arrays", schema, row)


def _number(schema: Schema, column: int | None = None) -> Any:
    """The numbers that may stand for a value."""
    kind = schema.kinds[column] if schema.kinds and column is not None else "real"
    if schema.levels:
        return _whole_within(0, schema.levels - 1)
    has_spikes = column is not None and bool(schema.spikes and schema.spikes[column])
    if column is None or kind == "real" or has_spikes:
        return _Real
    low, high = schema.low[column], schema.high[column]
    if kind == "positive":
        return Annotated[_Real, Field(gt=0)]
    if kind == "bounded":
        low, high = schema.bounds[column]
        return Annotated[_Real, Field(gt=low, lt=high)]
    if kind == "count":
        return _whole_within(0, 2**31)
    if schema.categories[column]:
        return _whole_within(0, len(schema.categories[column]) - 1)
    return _whole_within(int(low), int(high))


def _cell(schema: Schema, column: int) -> Any:
    """A value as a record has it."""
    if schema.kinds and schema.categories[column]:
        return _one_of(schema.categories[column])
    if schema.dates and schema.dates[column]:
        return str
    return _number(schema, column)


def _one_of(values: Iterable[str | int]) -> Any:
    literal: Any = Literal
    return literal[tuple(values)]


def _or_null(kind: Any, schema: Schema, column: int) -> Any:
    return kind | None if schema.gaps and schema.gaps[column] else kind


def _given_type(schema: Schema, most_rows: int, *, unknown: bool = False) -> Any:
    """Of each condition by name a value, or a list of one a row; '' for a category that is not known."""
    if not schema.conditions:
        return Annotated[None, Field(default=None)]
    fields: dict[str, Any] = {}
    for number, condition in enumerate(schema.conditions):
        one: Any = _Real
        if condition.categories:
            texts = [str(name) for name in condition.categories] + [""] * (unknown and not number)
            one = _one_of([*texts, *(int(text) for text in texts if text.isdecimal())])
        several = Annotated[list[one], Field(min_length=1, max_length=most_rows), Tag("several")]
        either: Any = Annotated[one, Tag("one")] | several
        told = Annotated[either, Discriminator(_count_of)]
        fields[f"condition{number}"] = (told, Field(alias=condition.name))
    return _model("Given", fields)


def _model(name: str, fields: dict[str, Any]) -> Any:
    config = ConfigDict(extra="forbid", strict=True, validate_by_alias=True)
    return create_model(name, __config__=config, **fields)


def _form_of(rows: Any) -> Form:
    is_records = isinstance(rows, list) and bool(rows) and not isinstance(rows[0], list | tuple)
    return "records" if is_records else "arrays"


def _count_of(values: Any) -> str:
    return "several" if isinstance(values, list) else "one"


def _told(given: BaseModel | None) -> dict[str, Any] | None:
    return None if given is None else given.model_dump(by_alias=True)


def _dataset(schema: Schema, rows: list[Any], given: BaseModel | None) -> Dataset:
    """The rows of a request, checked as those of `Model` are."""
    values: Array = (
        np.asarray(rows, dtype=np.float64) if _form_of(rows) == "arrays" else _read(schema, rows)
    )
    return rows_like(values, schema, _told(given), unknown=True, name="rows")


def _read(schema: Schema, rows: list[BaseModel]) -> Array:
    """Records as an array."""
    plain = dataclasses.replace(schema, conditions=())
    records = read_rows([row.model_dump(by_alias=True) for row in rows], plain, name="rows")
    return np.concatenate([part.numpy() for part in records.raw_batches(len(records))])


def _require_size(count: int, schema: Schema) -> None:
    most = max(1, _MOST_NUMBERS // math.prod(schema.shape))
    if count > most:
        raise ValueError(
            f"one answer must have at most {most:,} rows of this model; {count:,} were asked for. Ask several times."
        )


def _require_work(rows: int, samples: int) -> None:
    if rows * samples > _MOST_DRAWS:
        raise ValueError(
            f"rows times samples must be at most {_MOST_DRAWS:,} in a request; got {rows * samples:,}. Give fewer rows."
        )


# --- what is answered ---------------------------------------------------------------------------------------------


@contextmanager
def _answering(busy: threading.Lock) -> Iterator[list[str]]:
    """One call of the model at a time; what it warns of comes into the list."""
    said: list[str] = []
    with busy, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield said
        except TypeError as error:
            raise ValueError(str(error)) from error
        said += [str(item.message) for item in caught if item.category is UserWarning]


def _info(model: Model) -> Info:
    schema, vae = model.schema, model.vae
    config = vae.config
    assert config is not None  # as of all that build_vae made
    columns = [
        Column(
            name=name,
            title=schema.titles[k],
            kind=schema.kinds[k] if schema.kinds else "real",
            low=schema.low[k],
            high=schema.high[k],
            categories=list(schema.categories[k]) if schema.categories else [],
            gaps=bool(schema.gaps and schema.gaps[k]),
        )
        for k, name in enumerate(schema.columns)
    ]
    conditions = [
        ConditionInfo(name=one.name, categories=[str(name) for name in one.categories])
        for one in schema.conditions
    ]
    return Info(
        version=__version__,
        latent_dim=vae.latent_dim,
        posterior=config.posterior,
        prior=config.prior,
        likelihood=config.likelihood,
        measures=vae.likelihood.measures,
        shape=list(schema.shape),
        columns=columns,
        conditions=conditions,
        takes_gaps=any(schema.gaps),
    )


def _plain(values: Array) -> list[Any]:
    """Lists that JSON has; what is not finite is null."""
    if values.dtype.kind == "f":
        nothing = np.array(None)
        return np.where(np.isfinite(values), values.astype(object), nothing).tolist()
    return values.tolist()


def _rows_as(form: Form, schema: Schema, rows: Array) -> list[Any]:
    """Rows as arrays, or by the names of their columns."""
    if form == "arrays":
        return _plain(rows)
    if not schema.columns:
        raise ValueError("records need columns with names; these rows are images. Ask for arrays.")
    return [
        {name: _value(schema, k, row[k]) for k, name in enumerate(schema.columns)} for row in rows
    ]


def _value(schema: Schema, column: int, value: Any) -> Any:
    """A value as a record has it: a category or a date as its text."""
    text = cell_text(schema, column, value)
    if not text:
        return None
    is_text = (schema.kinds and schema.categories[column]) or (
        schema.dates and schema.dates[column]
    )
    if is_text:
        return text
    return int(text) if schema.kinds and schema.whole[column] else float(text)


def _estimate(value: Estimate) -> dict[str, Any]:
    """As JSON has it, which has no infinity."""
    numbers = dataclasses.asdict(value)
    return {key: number if math.isfinite(number) else None for key, number in numbers.items()}


# --- what is refused ----------------------------------------------------------------------------------------------


def _content_of_problems() -> dict[str, Any]:
    return {_PROBLEM: {"schema": Problem.model_json_schema()}}


def _problem(status: int, title: str, detail: str, **more: Any) -> JSONResponse:
    headers = more.pop("headers", None)
    problem = Problem(title=title, status=status, detail=detail, **more)
    return JSONResponse(
        problem.model_dump(), status_code=status, media_type=_PROBLEM, headers=headers
    )


def _refusal(status: int, sentence: str, **headers: str) -> JSONResponse:
    return _problem(status, "The request is refused", sentence, headers=headers)


def _wrong_values(request: Request, error: Exception) -> JSONResponse:
    del request
    return _problem(422, "The values cannot be used", str(error))


def _wrong_form(request: Request, error: Exception) -> JSONResponse:
    """In the order of the request, each wrong field by its JSON pointer."""
    del request
    assert isinstance(error, RequestValidationError)
    wrong = [
        {"pointer": _pointer(item["loc"][1:]), "detail": item["msg"]} for item in error.errors()
    ]
    first = f"{wrong[0]['pointer'] or 'the body'}: {wrong[0]['detail']}"
    sentence = f"a request must have the form that /openapi.json describes; {first}. See /docs."
    return _problem(422, "The request has another form", sentence, errors=wrong)


def _pointer(path: Sequence[str | int]) -> str:
    """Where in the body, as RFC 6901 says it; which of several forms was tried is no part of that."""
    parts = [str(part) for part in path if part not in ("arrays", "records", "one", "several")]
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)


def _wrong_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 413:
        most = request.app.state.most_bytes
        sentence = f"a request must have at most {most:,} bytes; this one has more. Send fewer rows at once."
        headers["Connection"] = "close"
    else:
        sentence = (
            f"a request must be one that /openapi.json describes; {request.method} {request.url.path} is none: "
            f"{error.detail}. See /docs."
        )
    return _problem(error.status_code, str(error.detail), sentence, headers=headers)
