"""The first sentences of a study: what is better than what, as an exact test of ranks says it."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from variform.design.outcomes import Outcome
from variform.design.verdict import Standings, verdict

nan = float("nan")


def searches(name, *reached):
    return [
        Outcome(
            name, seed, np.array([value]), 0.02, 0.25, None, None, 0 if value == value else None
        )
        for seed, value in enumerate(reached)
    ]


def said(main, known=72.2, recommended=None, **reached):
    outcomes = {name: searches(name, *values) for name, values in reached.items()}
    standings = Standings(outcomes, [main], known, "{:.4g} counts".format)
    return " ".join(verdict(standings, recommended=recommended))


LATENT, LEVEL, WORSE = (66, 65, 67, 66, 66), (66, 64, 68, 67, 66), (71, 72, 70, 71, 73)


def test_the_verdict_is_first_and_spaces_are_told_apart_as_scipy_tells_ranks_apart():
    assert mannwhitneyu(LATENT, LEVEL).pvalue > 0.05 > mannwhitneyu(LATENT, WORSE).pvalue
    text = said("latent", latent=LATENT, pca=LEVEL, raw=WORSE)
    assert text.startswith("Better than every known design by 8.6 %: latent reached 66 counts, ")
    assert "pca (66 counts) is not told from it; raw (71 counts) is worse." in text
    assert text.endswith(
        "2 % of the evaluations were wasted on invalid designs, and 25 % missed a constraint."
    )
    text = said("raw", latent=LATENT, pca=LEVEL, raw=WORSE)
    assert "latent (66 counts), pca (66 counts) are better." in text


def test_it_is_said_whether_the_recommended_space_won():
    text = said("raw", recommended="raw", latent=LATENT, raw=WORSE)
    assert "R2 recommended raw, and latent won by 7.0 %." in text
    text = said("pca", recommended="pca", latent=(65, 64, 66, 65, 66), pca=LEVEL)
    assert "R2 recommended pca; latent reached more by 1.5 %, by which the two are not told" in text
    text = said("raw", recommended="raw", latent=LATENT, raw=(nan,) * 5)
    assert text.startswith(
        "No feasible design was found in raw yet; the best of the other spaces is latent with 66"
    )
    assert "R2 recommended raw, and latent won." in text
    assert "no space reached more" in said("latent", recommended="latent", latent=LATENT, raw=WORSE)
    assert "R2" not in said("latent", recommended="pool", latent=LATENT, raw=WORSE)
    assert "R2" not in said("latent", recommended="latent", latent=LATENT)


@pytest.mark.parametrize(
    ("known", "reached", "words"),
    [
        (64.0, LATENT, "No better design than the known ones was found: latent reached 66 counts, the best known"),
        (65.5, LATENT, "1 of 5 searches found a better design than every known one; latent reached 66 counts"),
        (None, LATENT, "latent reached 66 counts; what known designs reach is not known."),
        (nan, LATENT, "No known design is feasible; latent reached 66 counts."),
        (72.2, (nan, nan), "No feasible design was found yet."),
        (72.2, (nan, nan, 66), "1 of 3 searches found a feasible design, in no space most of them."),
        (0.0, (-1.0, -2.0), "Better than every known design: latent reached -1.5 counts"),
    ],
)  # fmt: skip
def test_what_is_beside_known_designs(known, reached, words):
    assert said("latent", known=known, latent=reached).startswith(words)


def test_few_seeds_tell_nothing_apart_and_that_is_said():
    text = said("latent", latent=LATENT[:3], raw=WORSE[:3])
    assert "raw (71 counts) is not told from it. With fewer than 4 seeds no two" in text
    text = said("latent", latent=LATENT, raw=(nan,) * 5)
    assert "raw (nothing feasible) is worse." in text
    assert "not told" in said("latent", latent=(66.0,) * 5, raw=(66.0,) * 5)
