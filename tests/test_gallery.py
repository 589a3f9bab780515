"""docs/gallery.md: every combination that trains has its picture and the numbers of its present command."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from variform import read

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
_spec = importlib.util.spec_from_file_location("gallery", ROOT / "tools" / "gallery.py")
gallery = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gallery)
LINES = gallery.lines_of(gallery.COMBINATIONS.read_text(encoding="utf-8"))
FOUND = json.loads(gallery.NUMBERS.read_text())


def test_every_line_of_the_combinations_is_known_to_the_gallery():
    named = re.findall(r"\| `(variform [^`]*)` \| `tests/", gallery.COMBINATIONS.read_text())
    assert [line.command for line in LINES] == named and len(named) > 30


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_a_combination_has_its_picture_and_numbers_or_a_sentence_why_not(line):
    if why := gallery.left_out(line):
        assert f"- **{line.name}** ({line.source}) {why}" in PAGE
        return
    numbers = FOUND["models"][line.name]
    assert numbers["command"] == line.command, "trained by another command: run tools/gallery.py"
    row = gallery.row_of([line.name, *gallery.cells_of(numbers)])
    assert row in PAGE.splitlines() and "±" in row
    assert gallery.row_of([line.name, gallery.picture_of(line)]) in PAGE.splitlines()


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_a_picture_is_small_and_begins_with_test_digits(line):
    path = gallery.IMAGES / line.file
    if gallery.left_out(line):
        assert not path.exists()
        return
    assert path.stat().st_size <= 15_000
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("L"))
    test = read("digits").test.raw[:, 0].numpy()
    if "--binarise threshold" in line.command:
        test = 16.0 * (test >= 8)
    ink = 255 - sheet[1 :: gallery.SCALE][:8, 1 :: gallery.SCALE][:, :8].astype(float)
    assert np.abs(ink / 255 * 16 - test[0]).max() < 0.6


def test_the_pictures_are_those_of_the_page_and_small_together():
    pictures = sorted(path.name for path in gallery.IMAGES.glob("*.png"))
    assert pictures == sorted(line.file for line in LINES if not gallery.left_out(line))
    assert sum(path.stat().st_size for path in gallery.IMAGES.iterdir()) <= 600_000
    assert gallery.page_of(LINES, FOUND) == PAGE
