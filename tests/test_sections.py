"""Sections of an evaluation: what is asked in depth reaches tables, report and page; damaged files are refused."""

import dataclasses
import json

import numpy as np
import pytest
from pages import contents_of

from variform import EvaluationConfig, ModelConfig, RunConfig, TrainConfig, read, train
from variform.config.in_depth import InDepth
from variform.evaluation.sections import SECTIONS, sections_of
from variform.pages.glossary import entry_of, formula_of
from variform.runs.train import train_run
from variform.system.files import write_json


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections") / "run"
    few = ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(4,))
    config = RunConfig(model=few, train=TrainConfig(steps=2))
    return train(
        "digits",
        config=config,
        out=folder,
        nll_samples=20,
        surgery=True,
        ais=3,
        ais_steps=4,
        progress=False,
    )


def test_nothing_is_asked_by_default():
    assert [name for name, section in SECTIONS.items() if section.is_asked(InDepth())] == []
    assert {field.name for field in dataclasses.fields(InDepth)} <= {
        field.name for field in dataclasses.fields(EvaluationConfig)
    }


def test_report_and_page_have_what_was_asked(asked):
    assert list(sections_of(asked.evaluation)) == ["certified", "surgery"]
    report = asked.report.read_text(encoding="utf-8")
    page = contents_of((asked.folder / "explorer.html").read_text(encoding="utf-8"))
    shown = {question["title"]: question for question in page["numbers"]["questions"]}
    for name, section in sections_of(asked.evaluation).items():
        assert f"<strong>{section.title}</strong>" in report
        [table] = section.tables(asked.evaluation[name])
        assert shown[section.title]["tables"][0]["rows"] == table.rows
        for row in table.rows:
            assert row[1] in report


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"factors": ("label", "colour")}, "`factors` must name what is known of the rows"),
        ({"synthetic": True, "synthetic_target": "mass"}, "`synthetic_target` must be one of"),
        ({"synthetic": True, "synthetic_rules": ("mass <",)}, "`synthetic_rules` must compare"),
        ({"probe": True}, "a probe must have at least 10 training rows"),
        ({"synthetic": True}, "at least 7 training rows"),
        ({"factors": ("label",)}, "at least 100 rows"),
    ],
)
def test_what_rows_cannot_answer_is_refused_before_the_first_step(tmp_path, asked, said):
    source = "digits"
    if "`" not in said:  # too few rows
        source = tmp_path / "few.npz"
        rows = read("digits").train.raw[:, 0].numpy()
        parts = {"train": rows[:40], "valid": rows[40:50], "test": rows[50:55]}
        labels = {f"y_{part}": np.arange(len(images)) % 2 for part, images in parts.items()}
        np.savez(source, **{f"x_{part}": images for part, images in parts.items()}, **labels)
    config = RunConfig(source=str(source), evaluation=EvaluationConfig(**asked))
    with pytest.raises(ValueError, match=said):
        train_run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "history.jsonl").exists()
    assert not (tmp_path / "run" / "config.toml").exists()


@pytest.mark.parametrize("name", SECTIONS)
def test_every_name_leads_to_words_that_there_are(name):
    section = SECTIONS[name]
    assert section.question.endswith("?")
    assert set(section.headings) <= set(section.meanings)
    for heading, tag in section.headings.values():
        assert entry_of(heading) is not None
        assert not tag or formula_of(tag) is not None


def test_every_row_of_a_table_is_explained(asked):
    for name, section in sections_of(asked.evaluation).items():
        names = {row[0] for table in section.tables(asked.evaluation[name]) for row in table.rows}
        assert names <= set(section.meanings)


def test_a_run_is_asked_in_python_as_on_the_command_line(asked):
    numbers = asked.evaluate(samples=20, surgery=True)
    assert "certified" not in numbers  # what is asked goes instead of the run's own
    assert numbers["surgery"] == asked.evaluation["surgery"]
    assert asked.evaluate()["certified"] == asked.evaluation["certified"]
    with pytest.raises(ValueError, match=r"must be asked for fields of InDepth, .* got `surgrey`"):
        asked.evaluate(surgrey=True)


def test_a_section_that_is_not_whole_is_refused(asked):
    path = asked.folder / "evaluation.json"
    whole = path.read_bytes()
    numbers = json.loads(json.dumps(asked.evaluation))
    del numbers["surgery"]["rate"]
    write_json(path, numbers)
    with pytest.raises(ValueError, match="its surgery is not what it should be"):
        asked.evaluation  # noqa: B018
    path.write_bytes(whole)
