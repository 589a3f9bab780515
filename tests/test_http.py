"""A model over HTTP gives the numbers that it gives in Python, and says what is wrong with a request."""

import io
import json
import re

import models
import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from variform.evaluation import imputation
from variform.faces.http import application
from variform.faces.model import Model

ADDRESS = "http://127.0.0.1:8000"


def served(name, folder, **options):
    data = models.data_of(name, folder)
    vae = models.model_of(name, data)
    app = application(Model(vae), **options)
    return Model(vae), data.test.take(torch.arange(5)), TestClient(app, base_url=ADDRESS)


@pytest.fixture(params=["gaussian", "conditional", "gaps", "laws", "counts", "mixed conditional"])
def asked(request, tmp_path):
    """A model, rows of its test set with what it must be told of them, and a client of its server."""
    model, rows, client = served(request.param, tmp_path)
    told = {}
    parts = []
    if rows.contexts is not None:
        parts = model.schema.describe(rows.contexts[0], digits=7)
        told = {
            name: [model.schema.describe(row, digits=7)[name] for row in rows.contexts]
            for name in parts
        }
    return model, rows.gather(torch.arange(5)).numpy().astype(float), told, client


def as_json(values):
    return np.where(np.isnan(values), None, values.astype(object)).tolist()


def answer(client, path, **fields):
    """What the server answers to fields, of which None are left out."""
    sent = {name: value for name, value in fields.items() if value not in (None, {})}
    came = client.post(f"/v1/{path}", json=sent)
    assert came.status_code == 200, came.text
    return came.json()


def array(nested):
    return np.array(nested, dtype=float)


def test_the_numbers_are_those_of_python(asked):
    model, x, told, client = asked
    given = told or None
    mean, std = model.encode(x, given=given, std=True)
    codes = answer(client, "encode", rows=as_json(x), given=told)
    np.testing.assert_allclose(codes["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(codes["std"], std, rtol=1e-6)
    rows = answer(client, "decode", points=codes["mean"], given=told)["rows"]
    np.testing.assert_allclose(
        array(rows), model.decode(mean.astype(float), given=given), rtol=1e-6
    )
    rows = answer(client, "reconstruct", rows=as_json(x), given=told)["rows"]
    np.testing.assert_allclose(array(rows), model.reconstruct(x, given=given), rtol=1e-6)
    one = {name: values[0] for name, values in told.items()}
    rows = answer(client, "sample", count=4, given=one, seed=3, draw=True, temperature=0.5)["rows"]
    expected = model.sample(4, given=one or None, seed=3, draw=True, temperature=0.5)
    np.testing.assert_allclose(array(rows), expected, rtol=1e-6)
    scores = answer(client, "score", rows=as_json(x), given=told, samples=50, seed=2)
    log_px, pareto_k = model.score(x, given=given, samples=50, seed=2, pareto_k=True)
    parts = answer(
        client, "score", rows=as_json(x), given=told, samples=50, refine=0, seed=2, attribution=True
    )
    sums = array(parts["attribution"]).reshape(len(x), -1).sum(1)
    np.testing.assert_allclose(sums, -np.array(parts["log_px"]), atol=1e-6)
    assert "attribution" not in scores
    np.testing.assert_allclose(scores["log_px"], log_px, rtol=1e-6)
    np.testing.assert_allclose(array(scores["pareto_k"]), pareto_k, rtol=1e-5)
    assert scores["nll"]["mean"] == pytest.approx(-np.mean(log_px))
    assert scores["nll"]["se"] == pytest.approx(np.std(log_px, ddof=1) / 5**0.5)
    assert np.mean(scores["elbo"]) == pytest.approx(scores["mean_elbo"]["mean"])


def as_npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def test_arrays_come_and_go_as_files_of_numpy(asked):
    """Bit for bit what JSON has, which has every digit; the other fields stand in the query."""
    _, x, told, client = asked
    query = {"given": json.dumps(told)} if told else {}
    kinds = {"content-type": "application/x-npy", "accept": "application/x-npy"}

    def sent(path, values, **fields):
        came = client.post(
            f"/v1/{path}", content=as_npy(values), headers=kinds, params=query | fields
        )
        assert came.status_code == 200 and came.headers["content-type"] == "application/x-npy"
        return np.load(io.BytesIO(came.content))

    plain = answer(client, "encode", rows=as_json(x), given=told)
    codes = sent("encode", x)
    np.testing.assert_array_equal(
        codes, np.stack([plain["mean"], plain["std"]], 1).astype(codes.dtype)
    )
    points = np.asfortranarray(codes[:, 0])
    decoded = answer(client, "decode", points=points.tolist(), given=told, std=True)
    both = sent("decode", points, std="true")
    np.testing.assert_array_equal(both[:, 0], array(decoded["rows"]).astype(both.dtype))
    np.testing.assert_allclose(both[:, 1], array(decoded["std"]), rtol=1e-6)
    np.testing.assert_array_equal(sent("decode", points), both[:, 0])
    np.testing.assert_array_equal(
        sent("reconstruct", x),
        array(answer(client, "reconstruct", rows=as_json(x), given=told)["rows"]),
    )
    del kinds["accept"]
    scores = client.post(
        "/v1/score", content=as_npy(x), headers=kinds, params=query | {"samples": 20, "seed": 1}
    ).json()
    assert scores == answer(client, "score", rows=as_json(x), given=told, samples=20, seed=1)


def test_draws_leave_as_a_file(tmp_path):
    model, _, client = served("gaussian", tmp_path)
    came = client.post(
        "/v1/sample", json={"count": 4, "seed": 3}, headers={"accept": "application/x-npy"}
    )
    np.testing.assert_array_equal(np.load(io.BytesIO(came.content)), model.sample(4, seed=3))


def test_deviations_are_those_of_the_law(tmp_path):
    model, _, client = served("gaussian", tmp_path)
    z = np.random.default_rng(0).normal(size=(3, model.latent_dim))
    with torch.no_grad():
        law = model.vae.double().decode(torch.from_numpy(z))
    expected = law.stddev * model.schema.per_value(model.schema.scale)
    found = array(answer(client, "decode", points=z.tolist(), std=True)["std"])
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)
    assert "std" not in answer(client, "decode", points=z.tolist())


HEAD = as_npy(np.zeros((1, 1, 8, 8)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "must be a .npy file"),
        (b"no file", "must be a .npy file"),
        (HEAD[:-1], "must have 512 bytes behind its head; got 511"),
        (HEAD.replace(b"(1, 1, 8, 8)", b"(999999999,)"), "must have"),
        (as_npy(np.array([[["a"]]])), "must hold numbers"),
        (as_npy(np.zeros((1, 8, 8))), "(N, 1, 8, 8) with N from 1 to 10000; got (1, 8, 8)"),
        (as_npy(np.zeros((0, 1, 8, 8))), "got (0, 1, 8, 8)"),
        (as_npy(np.zeros((10_001, 1, 8, 8), np.int8)), "got (10001, 1, 8, 8)"),
        (as_npy(np.full((1, 1, 8, 8), np.inf)), "no number may be beyond 1e+30"),
        (as_npy(np.full((1, 1, 8, 8), np.nan)), "finite"),
    ],
    ids=range(10),
)
def test_what_is_no_array_of_rows_is_a_sentence(body, words, tmp_path):
    _, _, client = served("gaussian", tmp_path)
    came = client.post("/v1/encode", content=body, headers={"content-type": "application/x-npy"})
    assert came.status_code == 422 and words in came.json()["detail"], came.text


@pytest.mark.parametrize("name", ["gaps", "laws"])
def test_gaps_are_filled_as_in_python(name, tmp_path):
    model, rows, client = served(name, tmp_path)
    x = rows.gather(torch.arange(5)).numpy().astype(float)
    x[:, model.schema.gaps.index(True)] = np.nan
    came = answer(client, "impute", rows=as_json(x), samples=40, refine=3, seed=1, level=0.8)
    expected = imputation.impute(
        model, model._rows(x, None), samples=40, refine=3, seed=1, level=0.8
    )
    for key, values in (("rows", expected.values), ("low", expected.low), ("high", expected.high)):
        np.testing.assert_allclose(array(came[key]), values, rtol=1e-6)
    assert came["missing"] == expected.missing.tolist()


def test_a_model_that_takes_no_gaps_says_so(tmp_path):
    _, _, client = served("gaussian", tmp_path)
    came = client.post("/v1/impute", json={"rows": np.zeros((1, 1, 8, 8), int).tolist()})
    assert (
        came.status_code == 422 and "/v1/impute" not in client.get("/openapi.json").json()["paths"]
    )
    assert "gaps" in came.json()["detail"]


def test_records_have_the_texts_of_the_table(tmp_path):
    model, rows, client = served("laws", tmp_path)
    x = rows.gather(torch.arange(5)).numpy().astype(float)
    columns = {one["name"]: one for one in client.get("/v1/model").json()["columns"]}
    assert list(columns) == list(model.schema.columns)

    def record(row):
        cells = {}
        for (name, column), value in zip(columns.items(), row, strict=True):
            names = column["categories"]
            cells[name] = None if np.isnan(value) else names[int(value)] if names else value
        return cells

    records = [record(row) for row in x]
    codes = answer(client, "encode", rows=records)
    np.testing.assert_allclose(codes["mean"], answer(client, "encode", rows=as_json(x))["mean"])
    as_records = answer(client, "decode", points=codes["mean"], form="records")["rows"]
    as_arrays = array(answer(client, "decode", points=codes["mean"])["rows"])
    assert any(columns[name]["categories"] for name in columns)
    for found, row in zip(as_records, as_arrays, strict=True):
        for name, cell in record(row).items():
            assert found[name] == (cell if isinstance(cell, str | None) else pytest.approx(cell))
    assert (
        answer(client, "encode", rows=as_records)["mean"] is not None
    )  # what comes can be sent back


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({}, "/rows", "Field required"),
        ({"rows": []}, "/rows", "at least 1 item"),
        ({"rows": [[1, 2]]}, "/rows/0", "Field required|at least 3|tuple"),
        ({"rows": [[1, 2, "a"]]}, "/rows/0/2", "valid integer|valid number"),
        ({"rows": [[1, 2, None]]}, "/rows/0/2", "valid integer|valid number"),
        ({"rows": [[1, 2, True]]}, "/rows/0/2", "valid"),
        ({"rows": [[1, 2, 1e31]]}, "/rows/0/2", "less than or equal"),
        ({"rows": [{"column 1": 1, "column 2": 2}]}, "/rows/0/column 3", "Field required"),
        (
            {"rows": [{"column 1": 1, "column 2": 2, "column 3": 1, "a/b": 1}]},
            "/rows/0/a~1b",
            "Extra",
        ),
        ({"rows": [[1, 2, 3]], "samples": 10**9}, "/samples", "less than or equal"),
        ({"rows": [[1, 2, 3]], "given": {"label": 3}}, "/given", "None"),
    ],
)
def test_each_wrong_field_is_named(body, pointer, words, tmp_path):
    _, _, client = served("counts", tmp_path)
    came = client.post("/v1/score", json=body)
    problem = came.json()
    assert came.status_code == problem["status"] == 422
    assert came.headers["content-type"] == "application/problem+json"
    found = {item["pointer"]: item["detail"] for item in problem["errors"]}
    assert any(
        place.startswith(pointer) and re.search(words, text) for place, text in found.items()
    ), found
    assert "must have the form that /openapi.json describes" in problem["detail"]
    assert "Traceback" not in came.text


def test_values_that_the_model_cannot_use_are_a_sentence(tmp_path):
    _, _, client = served("counts", tmp_path)
    came = client.post("/v1/score", json={"rows": [[0.5, 1, 2]]})
    assert came.status_code == 422
    assert "whole numbers" in came.json()["detail"] and came.json()["errors"] == []
    for body, status in ((b"{", 422), (b"[1, NaN", 422), (b"\xff", 422)):
        assert client.post("/v1/score", content=body).status_code == status
    wrong = client.get("/v1/score")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "POST"
    assert client.get("/nothing").json()["status"] == 404


def test_bodies_and_answers_are_bounded(tmp_path):
    class Clock:
        seconds = 0.0

        def __call__(self):
            return self.seconds

    _, _, client = served("gaussian", tmp_path, rate=1, clock=(clock := Clock()))
    large = b"[" + b"1," * 2**24 + b"1]"
    sent = {"content-type": "application/json"}
    whole = client.post("/v1/encode", content=large, headers=sent)
    clock.seconds += 10
    parts = client.post("/v1/encode", content=iter([large]), headers=sent)
    for came in (whole, parts):
        assert came.status_code == came.json()["status"] == 413
        assert "at most 33,554,432 bytes" in came.json()["detail"]
    clock.seconds += 10
    rows = np.zeros((2000, 1, 8, 8), int).tolist()
    came = client.post("/v1/score", json={"rows": rows, "samples": 9000})
    assert came.status_code == 422 and "got 18,000,000" in came.json()["detail"]
    clock.seconds += 10
    statuses = [client.get("/health").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    stranger = client.get("/health", headers={"host": "stranger.example"})
    assert stranger.status_code == stranger.json()["status"] == 403
    assert "access-control-allow-origin" not in client.get("/health").headers


def test_the_limits_may_be_others(tmp_path):
    _, _, client = served("gaussian", tmp_path, most_rows=2, most_bytes=2000)
    x = np.zeros((3, 1, 8, 8), np.int8)
    assert answer(client, "encode", rows=x[:2].tolist())["mean"]
    too_many = client.post("/v1/encode", json={"rows": x.tolist()})
    kinds = {"content-type": "application/x-npy"}
    as_file = client.post("/v1/encode", content=as_npy(x), headers=kinds)
    assert too_many.status_code == as_file.status_code == 422
    assert "at most 2" in too_many.json()["detail"] and "N from 1 to 2" in as_file.json()["detail"]
    assert client.post("/v1/sample", json={"count": 3}).status_code == 422
    for large in (
        bytes(2001),
        iter([bytes(1500), bytes(501)]),
    ):  # which says its length, and which does not
        came = client.post("/v1/encode", content=large, headers=kinds)
        assert came.status_code == 413 and "at most 2,000 bytes" in came.json()["detail"]
    with pytest.raises(ValueError, match="`most_rows` must be"):
        application(
            Model(models.model_of("gaussian", models.data_of("gaussian", tmp_path))), most_rows=0
        )


def test_the_documentation_needs_no_network(tmp_path):
    _, _, client = served("conditional", tmp_path)
    page = client.get("/docs")
    assert (
        page.status_code == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    )
    places = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(places) >= 2 and not any(place.startswith(("http", "//")) for place in places)
    for place in places:
        assert place.startswith("data:") or client.get(place).status_code == 200
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1") and set(described["paths"]) == {
        "/health",
        "/v1/model",
        *(f"/v1/{name}" for name in ("encode", "decode", "sample", "score", "reconstruct")),
    }
    rows = described["components"]["schemas"]["AskedOfRows"]["properties"]["rows"]
    pixel = rows["items"]["items"]["items"]["items"]
    assert (pixel["type"], pixel["minimum"], pixel["maximum"]) == ("integer", 0, 16)
    assert "label" in json.dumps(described["components"]["schemas"]["Given"])
    for path in described["paths"].values():
        for operation in path.values():
            assert "application/problem+json" in operation["responses"]["4XX"]["content"]


def test_page_and_model_stand_beside_each_other(tmp_path):
    model, _, client = served("gaussian", tmp_path, page="<!doctype html><title>page</title>")
    assert "<title>page" in client.get("/").text
    z = np.zeros((2, model.latent_dim), "<f4")
    binary = {"content-type": "application/octet-stream"}
    floats = np.frombuffer(
        client.post("/decode", content=z.tobytes(), headers=binary).content, "<f4"
    )
    rows = answer(client, "decode", points=z.tolist())["rows"]
    np.testing.assert_allclose(floats.reshape(2, 1, 8, 8), array(rows), rtol=1e-6)
    long = client.post("/v1/sample", json={"count": 50})
    assert long.headers["content-encoding"] == "gzip" and len(long.json()["rows"]) == 50
