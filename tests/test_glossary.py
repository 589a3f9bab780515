"""Words and formulas from the project's own documents: every number of a report leads to its entry."""

import re
from pathlib import Path

import pytest
from models import run_with_sampler
from pages import contents_of

from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.evaluation.metrics import METRICS
from variform.faces import cli
from variform.pages.glossary import entry_of, explain, formula_of
from variform.pages.language import ENGLISH, words_of
from variform.pages.report import Table, render
from variform.runs.train import train_run

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("key", METRICS)
def test_every_metric_has_an_entry_in_both_languages_and_its_formula(key):
    metric = METRICS[key]
    if not metric.word:
        return
    english, korean = entry_of(metric.word), entry_of(metric.word, "ko")
    assert english is not None and korean is not None
    assert english.title.lower() == metric.word.lower()
    assert f"({english.title.lower()})" in korean.title.lower() or english.title in korean.title
    assert "](" not in english.text and re.search("[가-힣]", korean.text)
    if metric.formula:
        assert formula_of(metric.formula).text.startswith("$$")


def test_an_entry_is_what_the_document_says():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    for entry in explain("fingerprint", ENGLISH):
        assert f"### {entry.title}\n\n{entry.text}\n" in text


def test_a_word_is_found_in_either_language_and_by_its_parts():
    korean = words_of("ko")
    assert explain("recall", ENGLISH)[0].title == "Precision, recall, density, coverage"
    assert explain("잠재 변수", korean) == explain("Latent  variable", korean)
    assert [entry.title for entry in explain("elbo", ENGLISH)] == ["ELBO", "elbo"]


def test_a_word_that_there_is_not_is_refused_with_what_is_near(capsys):
    assert cli.run(["explain", "Paretto", "k"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the word must be") and "pareto k" in error
    assert cli.run(["explain", "active", "units"]) == 0
    assert "\\operatorname{Var}" in capsys.readouterr().out


def test_a_question_mark_leads_to_the_entry_in_the_same_page():
    table = Table(
        "Numbers",
        ("test", "VAE"),
        [("NLL (nats)", "1")],
        meanings={"NLL (nats)": "How improbable."},
        headings={"NLL (nats)": ("NLL", "importance-sampling")},
    )
    empty = {"facts": [], "pictures": [], "notes": [], "config": "", "summary": "", "command": ""}
    page = render(title="Digits", tables=[table], **empty)
    assert '<a href="#word-nll">' in page and page.count('id="word-nll"') == 1
    assert "Formula: importance-sampling" in page


def test_a_copy_of_the_code_without_its_documents_has_a_report(monkeypatch):
    monkeypatch.setattr("variform.pages.report.entry_of", lambda *_: None)
    table = Table("T", ("a", "b"), [("c", "1")], meanings={"c": "d"}, headings={"c": ("NLL", "")})
    empty = {"facts": [], "pictures": [], "notes": [], "config": "", "summary": "", "command": ""}
    page = render(title="Digits", tables=[table], **empty)
    assert "d" in page and "#word-" not in page


def test_a_name_in_the_explorer_leads_to_its_entry_in_the_report_beside_it(tmp_path):
    run_with_sampler(tmp_path / "run", 2)
    assert cli.run(["explore", str(tmp_path / "run")]) == 0
    assert contents_of((tmp_path / "run/explorer.html").read_text())["numbers"]["links"] == []
    config = RunConfig(
        source="digits",
        model=ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(4,)),
        train=TrainConfig(steps=2),
        evaluation=EvaluationConfig(nll_samples=2),
    )
    train_run(config, tmp_path / "whole")
    report = (tmp_path / "whole/report.html").read_text(encoding="utf-8")
    numbers = contents_of((tmp_path / "whole/explorer.html").read_text())["numbers"]
    assert len(numbers["links"]) == len(numbers["rows"])
    assert numbers["links"][0] == "report.html#word-elbo"
    assert all(f'id="{link.partition("#")[2]}"' in report for link in numbers["links"] if link)
