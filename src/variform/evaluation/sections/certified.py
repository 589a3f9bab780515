"""How far NLL and ELBO are from the truth."""

from variform.evaluation.sections.section import Lines, Numbers, Scene, Section
from variform.evaluation.tables import show

_ROWS = {
    "nll": "annealed NLL",
    "nll_importance": "NLL by importance samples",
    "bracket": "distance of the bounds",
    "amortisation_gap": "amortisation gap",
    "approximation_gap": "approximation gap",
    "approximation_gap_full": "approximation gap with a full covariance",
    "approximation_gap_flow": "approximation gap with a flow",
    "ess": "effective chains",
}
_MEANINGS = {
    "nll": "-log p(x) by chains that walk from q(z|x) to p(z|x): however poor the encoder is, their weights have the "
    "mean p(x).",
    "nll_importance": "The NLL that the held-out numbers give, of the same rows.",
    "bracket": "On rows that the model drew, chains walk both ways and bound log p(x) from below and above, in "
    "expectation. Where the bounds are close, the annealed NLL is right; more temperatures bring them closer.",
    "amortisation_gap": "What the encoder loses, one network for all rows, beside the best q of each row: a larger "
    "encoder or more training can win it.",
    "approximation_gap": "What the best q of each row still loses, since p(z|x) is not of its family: a posterior "
    "with more shapes can win it.",
    "approximation_gap_full": "What would be left if q were the best Gaussian with a full covariance for each row: "
    "what `posterior full` could win at most is the difference.",
    "approximation_gap_flow": "What would be left if that Gaussian were bent by the best flow for each row: near 0, "
    "where the family is all that is to blame.",
    "ess": "As how many chains of equal weight the chains of a row count.",
}
_HEADINGS = {
    "nll": ("Annealed importance sampling", "annealed-importance-sampling"),
    "bracket": ("Annealed importance sampling", "bidirectional"),
    "amortisation_gap": ("Amortisation gap and approximation gap", "amortisation-gap"),
    "approximation_gap": ("Amortisation gap and approximation gap", "amortisation-gap"),
    "approximation_gap_full": ("Amortisation gap and approximation gap", "refined"),
    "approximation_gap_flow": ("Amortisation gap and approximation gap", "coupled"),
}


def _measure(scene: Scene) -> Numbers:
    from variform.evaluation.annealing import Walk, certify

    return certify(
        scene.vae,
        scene.rows,
        rows=scene.asked.ais,
        samples=scene.samples,
        walk=Walk(temperatures=scene.asked.ais_steps),
        seed=scene.seed,
        progress=scene.progress,
    )


def _answer(found: Numbers) -> str:
    off = found["nll_importance"]["mean"] - found["nll"]["mean"]
    blamed = {
        "the encoder": found["amortisation_gap"]["mean"],
        "the family of the posterior": found["approximation_gap"]["mean"],
    }
    most = max(blamed, key=lambda part: blamed[part])
    return (
        f"The bounds are {found['bracket']['mean']:z.2f} nats apart; the NLL by importance samples is {off:+z.2f} nats "
        f"from the annealed one, and the ELBO {sum(blamed.values()):z.2f}, most of it by {most}; of "
        f"{blamed['the family of the posterior']:z.2f} that its family leaves, a full covariance would leave "
        f"{found['approximation_gap_full']['mean']:z.2f} and a flow {found['approximation_gap_flow']['mean']:z.2f}"
    )


def _tables(found: Numbers) -> list[Lines]:
    rows = [[words, show(found[name])] for name, words in _ROWS.items()]
    note = (
        f"Each row has {found['chains']} chains through {found['temperatures']} temperatures, {found['samples']} "
        f"importance samples, and a best q that was refined in {found['refine']} steps."
    )
    return [Lines([f"{found['nll']['n']:,} rows at random, nats", "VAE"], rows, note=note)]


CERTIFIED = Section(
    title="Certified likelihood",
    question="How far are NLL and ELBO from the truth, and is the encoder to blame or the family of the posterior?",
    is_asked=lambda asked: asked.ais > 0,
    measure=_measure,
    answer=_answer,
    tables=_tables,
    meanings={_ROWS[name]: words for name, words in _MEANINGS.items()},
    headings={_ROWS[name]: leads for name, leads in _HEADINGS.items()},
)
