"""Pages in other languages: no phrase lacks its translation, none loses a number, and no name of the user's changes."""

import ast
import html
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from variform import EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from variform.config.words import Own
from variform.pages.language import LANGUAGES, Words, phrases_of_page, words_of
from variform.runs.train import train_run

SOURCE = Path(__file__).parents[1] / "src" / "variform"
SCRIPT = SOURCE / "pages" / "script"
HOLE = re.compile(r"\{(\d+)(?:#|:say)?\}")

# What a report or a page says of a run. In other modules most texts are messages of errors.
SAID = (
    *("evaluation/conclusion.py", "evaluation/verdict.py", "evaluation/summary.py"),
    *("evaluation/illnesses/fit.py", "evaluation/illnesses/latents.py"),
    *("evaluation/illnesses/rivals.py", "evaluation/illnesses/training.py"),
    *("evaluation/metrics.py", "evaluation/baselines.py", "model/alignment.py"),
    *("model/choosing.py", "config/settling.py", "training/divergence.py"),
    *("data/dimension.py", "data/notes.py", "data/reading.py", "data/scaling.py"),
    *("data/shaping.py", "data/laws.py", "data/sources/about.py", "data/sources/arrays.py"),
    *("data/sources/builtin.py", "data/sources/containers.py", "data/sources/folders.py"),
    *("data/sources/images.py", "data/sources/marks.py", "data/sources/split_tables.py"),
    *("data/sources/tables.py", "data/sources/text_tables.py"),
    *("runs/explorer.py", "runs/pictures.py", "runs/retraining.py"),
    *(f"evaluation/sections/{path.name}" for path in SOURCE.glob("evaluation/sections/*.py")),
    *(
        "pages/examples.py",
        "pages/explorer/contents.py",
        "pages/explorer/study.py",
        "pages/latents.py",
    ),
)
# Literals of these that no page shows: parts of errors, names of values, settings of Matplotlib.
NOT_SAID = {
    *("Bring fewer rows", "Bring fewer rows, or numbers as a .npy file", "in a training row"),
    "Bring fewer rows, or as .npy files, which may stay on disk with `memory_map='on",
    "must hold one folder a part of its split",
    *("one array of rows, or one named", "Use a smaller `image_size`, or fewer images"),
    *("or `frames='first'` to take one image of each file", "other size", "block size"),
    *("upper left", "outside right center", "signed permutation", "your own"),
    *("variform train --config", "the model in memory"),
}
KEPT = re.compile(  # commands, options, and the English term behind a Korean one
    r"variform [a-z]+( [a-z]+)?|--[a-z-]+( \S+)?|posterior diagonal|\([A-Za-z, -]+\)"
)
ENGLISH = re.compile(r"\b[a-z]{3,} [a-z]{2,}")


def table(code):
    return json.loads((SOURCE / "pages" / "words" / f"{code}.json").read_text(encoding="utf-8"))


def literals(path):
    """The pieces of text in a module that are no docstring, no message of an error and no part of an expression."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            left_out |= {id(child) for child in ast.walk(node.value)}
        if isinstance(node, ast.Raise | ast.Assert | ast.AnnAssign | ast.arg):
            parts = [node.annotation] if isinstance(node, ast.AnnAssign | ast.arg) else [node]
            left_out |= {id(child) for part in parts if part for child in ast.walk(part)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(id(node.value))
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in left_out:
            yield node.value


def pieces(text):
    """The sentences of a text, without what may be said elsewhere."""
    for piece in re.split(r"(?<=[.!?]) |; |\{\}", text):
        piece = piece.strip(" ,;:.()'`=[]").removesuffix(", and")
        if ENGLISH.search(piece) or re.fullmatch(r"[A-Z][a-z]{2,}( [a-z]+)*", piece):
            yield piece


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("module", SAID)
def test_every_phrase_that_a_page_says_has_a_translation(code, module):
    known = " ".join(key for phrases in table(code).values() for key in phrases)
    glossary = (SOURCE.parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
    known += " ".join(re.findall(r"^### (.+)$", glossary, re.MULTILINE))  # has a file a language
    known = HOLE.sub(" ", known).lower()
    lacking = {
        piece
        for text in literals(SOURCE / module)
        for piece in pieces(text)
        if piece.lower() not in known and piece not in NOT_SAID
    }
    assert lacking == set(), f"words/{code}.json has no phrase for these"


def phrases_of_script(text):
    """The phrases of t`...`, with holes as a table has them."""
    for start in re.finditer(r"(?<![\w$`'\"])t`", text):
        at, key, holes = start.end(), "", 0
        while text[at] != "`":
            if text.startswith("${", at):
                depth, at = 1, at + 2
                while depth:
                    depth += {"{": 1, "}": -1}.get(text[at], 0)
                    at += 1
                key, holes = f"{key}{{{holes}}}", holes + 1
            else:
                key, at = key + text[at], at + 1
        yield key


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_phrase_of_the_script_has_a_translation(code):
    def plain(key):
        key = key.removesuffix(".").replace("#}", "}")
        return key[:1].lower() + key[1:]

    own = table(code)
    known = {plain(key) for name in ("both", "explorer") for key in own[name]}
    files = [path for path in SCRIPT.rglob("*.js") if path.name != "bundle.js"]
    phrases = [key for path in files for key in phrases_of_script(path.read_text(encoding="utf-8"))]
    assert len(phrases) > 200
    assert [key for key in phrases if plain(key) not in known] == []
    titles = [
        title
        for path in files
        for title in re.findall(r'static title = "(.+)"', path.read_text("utf-8"))
    ]
    assert len(titles) > 7
    assert [title for title in titles if plain(title) not in known] == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_phrase_loses_a_number_a_name_or_an_option(code):
    for phrases in table(code).values():
        for english, phrase in phrases.items():
            assert set(HOLE.findall(english)) == set(HOLE.findall(phrase)), english
            fields = re.compile(r"`[^`]*`")
            assert sorted(fields.findall(english)) == sorted(fields.findall(phrase)), english
            assert english.endswith(".") == phrase.endswith("."), english


def test_a_sentence_that_was_kept_is_found_again_with_what_it_says():
    words = words_of("ko")
    found = "Better than PCA by at least 47.2 ± 4.1 nats a row; 2 of 3 latents used; trained for one epoch"
    said = words.say(found)
    assert not ENGLISH.search(said)
    assert re.findall(r"[\d.]+", said) == ["47.2", "4.1", "3", "2"]
    assert words.say("what is left of nothing") == "what is left of nothing"
    assert words_of("en").say(found) == found


def test_a_name_of_the_users_stays_even_where_it_is_a_phrase():
    words = Words("xx", {"row": "ROW", "{0} of {1}": "{1}/{0:say}"})
    assert words.say("row") == "ROW"
    assert words.say(Own("row")) == "row"
    assert words.say("row of row") == "row/ROW"


def test_the_language_of_a_report_is_that_of_the_system(monkeypatch):
    for name, value, code in [
        ("LC_ALL", "ko_KR.UTF-8", "ko"),
        ("LC_ALL", "C.UTF-8", "en"),
        ("LC_ALL", "fr_FR.UTF-8", "en"),
        ("LANG", "ko", "ko"),
    ]:
        for other in ("LC_ALL", "LC_MESSAGES", "LANG"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, value)
        assert words_of("auto").code == code
    assert words_of("en").code == "en"
    assert os.environ["LANG"] == "ko"


def test_a_page_carries_the_languages_that_it_may_be_read_in():
    assert phrases_of_page("en") == {}
    assert set(phrases_of_page("auto")) == set(LANGUAGES)
    ko = phrases_of_page("ko")["ko"]["both"]
    assert ko["evaluate with --refine {0}, since Pareto k is above {1} for {2} of the rows"].count(
        "--refine {0}"
    )


# ── Whole pages ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A table whose columns and categories have names that are phrases of the page."""
    folder = tmp_path_factory.mktemp("language")
    z = np.random.default_rng(0).normal(size=150)
    lines = ["row,error,mass [g],label,drag"]
    for place, value in enumerate(z):
        mass = "" if place % 30 == 0 else f"{np.exp(value):.4f}"
        wood = "data" if value > 0 else "column"
        lines.append(
            f"{50 + 5 * value:.3f},{wood},{mass},{'none' if place % 2 else 'file'},{value:.3f}"
        )
    (folder / "rows.csv").write_text("\n".join(lines))
    config = RunConfig(
        source=str(folder / "rows.csv"),
        model=ModelConfig(latent_dim=2, likelihood="mixed", hidden=(8,)),
        train=TrainConfig(steps=60, learning_rate=1e-2),
        evaluation=EvaluationConfig(nll_samples=30),
    )
    from dataclasses import replace

    data = replace(config.data, label="label", response=("drag",))
    return train_run(replace(config, data=data), folder / "run", language="ko")


def texts_of(page):
    page = re.sub(r"<style.*?</style>|<script.*?</script>|<pre.*?</pre>", "", page, flags=re.DOTALL)
    page = re.sub(r'<div class="networks">.*?</div>', "", page, flags=re.DOTALL)
    page = re.sub(r'<div lang="en">.*?</div>', "", page, flags=re.DOTALL)
    page = re.sub(r'"data:image[^"]*"', '""', page)
    found = re.findall(r">([^<>]+)<", page) + re.findall(
        r'(?:aria-label|alt|title)="([^"]*)"', page
    )
    return [html.unescape(text).strip() for text in found]


def english_in(texts):
    return [text for text in texts if ENGLISH.search(KEPT.sub("", text))]


def test_a_korean_report_is_korean_but_for_the_users_own_names(run):
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert '<html lang="ko">' in page
    texts = texts_of(page)
    assert english_in(texts) == []
    assert {"row", "error", "mass [g]", "drag", "none", "file", "수치"} <= set(texts)
    numbers = re.compile(r"<td class=\"number\">([^<]+)</td>")
    assert f"{run.evaluation['nll']['mean']:.2f}"[:4] in "".join(numbers.findall(page))


def test_what_the_run_keeps_stays_english(run):
    kept = (run.folder / "evaluation.json").read_text(encoding="utf-8")
    assert not re.search("[가-힣]", kept.encode().decode("unicode_escape"))


SHOWN = """(() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const { data, parentElement } = walker.currentNode;
    if (!parentElement.matches("script, style, noscript, noscript *")) texts.push(data);
  }
  for (const name of ["aria-label", "title", "placeholder"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) texts.push(element.getAttribute(name));
  }
  return texts;
})()"""


def test_an_explorer_speaks_the_language_that_it_was_written_in(chromium, run):
    chromium.open(run.folder / "explorer.html")
    assert chromium.run("document.documentElement.lang") == "ko"
    tabs = chromium.run("[...document.querySelectorAll('#tabs button')].map(({ id }) => id)")
    assert len(tabs) == 8
    seen = set()
    for tab in tabs:
        chromium.run(f"document.getElementById('{tab}').click()")
        chromium.page.wait_for_timeout(50)
        texts = chromium.run(SHOWN)
        assert english_in(texts) == [], tab
        seen |= set(texts)
    assert {"row", "error", "data", "column", "none", "file"} <= seen
    assert chromium.errors == []


@pytest.mark.parametrize(
    ("locale", "code", "title"), [("ko-KR", "ko", "지도"), ("fr-FR", "en", "Map")]
)
def test_an_explorer_of_several_languages_speaks_the_readers(chromium, run, locale, code, title):
    from variform.runs.explorer import explore

    page = run.folder / f"explorer-{code}.html"
    explore(run).save(page)
    chromium.resize(1100, 760, locale=locale)
    chromium.open(page)
    assert chromium.run("document.documentElement.lang") == code
    assert chromium.run("document.getElementById('tab-map').textContent") == title
    assert chromium.errors == []
