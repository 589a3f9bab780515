"""What the KL term of all rows together pays for."""

from variform.evaluation.sections.section import Lines, Numbers, Scene, Section
from variform.evaluation.tables import show

_ROWS = {
    "distortion": "distortion",
    "rate": "rate",
    "mutual_information": "mutual information",
    "marginal_kl": "KL of all codes together",
    "total_correlation": "total correlation",
}
_BY_LATENT = "KL of each latent alone"
_ACTIVE = {
    "by_mean": "active units by their means",
    "by_kl": "active units by KL",
    "by_information": "active units by information",
}
_MEANINGS = {
    _ROWS[
        "distortion"
    ]: "-E log p(x|z) of the rows as they were prepared: what is lost where a row goes through its "
    "code. Minus the ELBO is distortion plus rate.",
    _ROWS["rate"]: "KL(q(z|x) || p(z)), the KL term of the ELBO: what the code of a row costs.",
    _ROWS[
        "mutual_information"
    ]: "How much a code tells of which row it is of: what the rate should buy. It is at most the "
    "logarithm of the number of rows.",
    _ROWS[
        "marginal_kl"
    ]: "KL(q(z) || p(z)) of the codes of all rows together and the prior: where it is large, draws from "
    "the prior land where no code is.",
    _ROWS[
        "total_correlation"
    ]: "Its part by which latents depend on each other: they repeat each other.",
    _BY_LATENT: "Its other part, over all latents: how far each alone is from its prior.",
    _ACTIVE[
        "by_mean"
    ]: "Latents whose posterior mean varies from row to row, with a variance above 0.01.",
    _ACTIVE["by_kl"]: "Latents with a KL term above 0.01 nats.",
    _ACTIVE["by_information"]: "Latents that tell more than 0.01 nats of the row.",
}


def _measure(scene: Scene) -> Numbers:
    from variform.evaluation.surgery import surgery

    return surgery(scene.vae, scene.rows, seed=scene.seed, progress=scene.progress)


def _answer(found: Numbers) -> str:
    means = {name: found[name]["mean"] for name in ("rate", "mutual_information", "marginal_kl")}
    ceiling = ""
    if found["is_saturated"]:
        ceiling = " (as much as so many rows can tell: take more)"
    return (
        f"Of {means['rate']:.2f} nats of the KL term {means['mutual_information']:.2f} are information on the "
        f"row{ceiling}, and {means['marginal_kl']:.2f} the distance of all codes together from the prior"
    )


def _tables(found: Numbers) -> list[Lines]:
    rows = [[words, show(found[name])] for name, words in _ROWS.items() if found[name] is not None]
    if found["dimension_wise_kl"] is not None:
        whole = found["marginal_kl"]["mean"] - found["total_correlation"]["mean"]
        rows.append([_BY_LATENT, f"{whole:.3f}"])
    active = found["active_units"]
    for name, words in _ACTIVE.items():
        if name in active:
            rows.append([words, f"{active[name]} of {active['of']}"])
    count = found["rate"]["n"]
    note = (
        f"Of {count:,} rows the mutual information is at most log N = {found['most_information']:.3f}; it and the KL "
        "of all codes together add up to the rate."
    )
    if found["total_correlation"] is None:
        note += " One dimension of such a posterior has no density in closed form: the parts by latent are missing."
    at_random = " at random" if found["is_sampled"] else ""
    return [Lines([f"{count:,} rows{at_random}, nats", "VAE"], rows, note=note)]


SURGERY = Section(
    title="ELBO surgery",
    question="What does the KL term pay for: for information on the rows, or for codes that are not spread as the "
    "prior is?",
    is_asked=lambda asked: asked.surgery,
    measure=_measure,
    answer=_answer,
    tables=_tables,
    meanings=_MEANINGS,
    headings={
        words: ("ELBO surgery", "surgery") for words in (*list(_ROWS.values())[1:], _BY_LATENT)
    }
    | {words: ("Active units", "active-units") for words in _ACTIVE.values()},
)
