"""What an evaluation looks at in depth, beyond the numbers that every one has."""

from dataclasses import dataclass

from variform.config.checks import Count, Natural, checked


@checked
@dataclass(frozen=True, kw_only=True)
class InDepth:
    """The sections that an evaluation is asked for, and how they are measured; by default none.

    Args:
        ais: Certify the NLL on so many rows at random by annealed importance sampling: how far NLL and ELBO are from
            the truth, between bounds from both sides, and whether the encoder or the posterior's family is to blame.
        ais_steps: Temperatures of `ais`: more bring the bounds closer together, in as much more time.
        surgery: Take the KL term apart: the information of the codes on the rows, how far the codes of all together
            are from the prior, and how much latents repeat each other.
        probe: Ask what the latents hold: how well the codes tell labels, responses and columns, keep neighbours
            together and fall into clusters, beside as many principal components and the rows themselves.
        factors: Score how far single codes stand for single known factors (MIG, SAP, DCI and others): `all`, or names
            of factors of the sprites, of the label, of conditions, responses or columns of a table.
        calibration: Ask whether the model is as sure as it may be: coverage, PIT and CRPS of new rows, of each column
            given the others, and of draws given a part of a row.
        calibration_rows: Rows that `calibration` looks at, at most, at random.
        calibration_columns: Columns or pixels of them, at most, at random: the rest of a row is drawn anew for each. 0
            is 30 of a table and 3 of an image.
        synthetic: Draw as many rows as the model was trained on and judge whether they may be handed out: whom they
            betray (copies, nearness, attacks on membership) and what they are good for. At most 10,000 rows are drawn.
        synthetic_target: A column or condition that `synthetic` predicts; by default up to eight of them.
        synthetic_rules: Rules of columns that `synthetic` counts the breaks of, such as wall<OD/2.

    Example:
        >>> InDepth(ais=100).ais_steps
        100
    """

    ais: Natural = 0
    ais_steps: Count = 100
    surgery: bool = False
    probe: bool = False
    factors: tuple[str, ...] = ()
    calibration: bool = False
    calibration_rows: Count = 200
    calibration_columns: Natural = 0
    synthetic: bool = False
    synthetic_target: str = ""
    synthetic_rules: tuple[str, ...] = ()
