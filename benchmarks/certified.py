"""How far NLLs are off: annealed importance sampling where log p(x) is known, and on trained runs where it is not.

    python benchmarks/certified.py linear frey_faces_u8_1965x28x20.npy
    python benchmarks/certified.py run runs/frey/frey-vamp --rows 200 --temperatures 100
    python benchmarks/certified.py run runs/mnist --rows 200 --temperatures 100

`linear`: a linear VAE with one variance for all pixels, its weights set to the optimum, which is probabilistic PCA, on
all 1,965 faces, x = grey / 255. Its log p(x) is known row by row, its mean KL(q || p) is half the sum of
log(lambda / sigma^2) over the eigenvalues. Then the same decoder with an encoder that is wrong on purpose.

`run`: rows of a run's test split at random, annealed and by importance sampling with the numbers of the run's own
evaluation, paired by row; and as many rows that the model drew, between two bounds.
"""

import argparse
import dataclasses
import math
import resource
from pathlib import Path

import numpy as np
import torch

from variform import ModelConfig, build_vae
from variform.data.reading import dataset_from
from variform.evaluation.annealing import Walk, anneal, bracket
from variform.evaluation.components import fit_pca
from variform.evaluation.log_likelihood import score
from variform.evaluation.standard_error import Estimate
from variform.evaluation.surgery import surgery
from variform.model.vae import VAE
from variform.runs.folder import open_run


def seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def shown(values: torch.Tensor, digits: int = 4) -> str:
    estimate = Estimate.of(values)
    return f"{estimate.mean:.{digits}f} ± {estimate.se:.{digits}f}"


def optimum(rows: np.ndarray, dim: int) -> tuple[VAE, torch.Tensor, float]:
    """A linear VAE at the maximum likelihood of probabilistic PCA, log p(x) of every row and the mean KL."""
    model = fit_pca(rows, dim)
    data = dataset_from(torch.from_numpy(rows))
    config = ModelConfig(
        latent_dim=dim, likelihood="gaussian-shared", hidden=(), posterior_std="exp", centre=False
    )
    vae = build_vae(config, data.schema).double()
    scale = np.sqrt(model.variances - model.noise)
    weight = torch.from_numpy(model.axes.T * scale)
    shrink = torch.from_numpy(model.noise / model.variances)  # variance of z given x
    encode = (shrink[:, None] / model.noise) * weight.T
    mean = torch.from_numpy(model.mean)
    with torch.no_grad():
        vae.likelihood.raw_log_var.fill_(math.log(model.noise))
        vae.decoder.output.weight.copy_(weight)
        vae.decoder.output.bias.copy_(mean)
        vae.encoder.output.weight.copy_(torch.cat([encode, torch.zeros_like(encode)]))
        vae.encoder.output.bias.copy_(torch.cat([-encode @ mean, shrink.log()]))
    exact = torch.from_numpy(model.log_prob(rows))
    return vae, exact, 0.5 * np.log(model.variances / model.noise).sum()


def linear(options: argparse.Namespace) -> None:
    images = np.load(options.source)
    rows = images.reshape(len(images), -1) / 255.0
    data = dataset_from(torch.from_numpy(rows))
    print("  q      exact  annealed - exact    KL, exact    KL, found  information + KL(q(z) || p)")
    for dim in (2, 5, 10, 20):
        vae, exact, kl = optimum(rows, dim)
        walk = Walk(chains=4, temperatures=5, refine=0)
        found = anneal(vae, data, walk=walk, seed=options.seed)
        parts = {
            name: part["mean"]
            for name, part in surgery(vae, data, seed=options.seed).items()
            if name in ("rate", "mutual_information", "marginal_kl", "total_correlation")
        }
        total = parts["mutual_information"] + parts["marginal_kl"]
        print(
            f"{dim:>3} {exact.mean():>10.4f} {shown(found.log_px - exact, 6):>17} {kl:>12.4f} {parts['rate']:>12.4f}  "
            f"{parts['mutual_information']:.4f} + {parts['marginal_kl']:.4f}, off by {abs(total - parts['rate']):.1e}",
            flush=True,
        )
    vae, exact, _ = optimum(rows, 10)
    with torch.no_grad():
        vae.encoder.output.weight *= 0.7
        vae.encoder.output.bias += 0.3
    some = torch.randperm(len(data), generator=torch.Generator().manual_seed(options.seed))[:200]
    data, exact = data.take(some), exact[some]
    scores = score(vae, data, samples=5000, seed=options.seed)
    print(f"q = 10, a wrong encoder, 200 rows: ELBO - exact {shown(scores.elbo - exact)}")
    print(
        f"  importance sampling, k = 5,000, - exact {shown(scores.log_px - exact)}, "
        f"effective samples {scores.ess.mean():.1f}"
    )
    for temperatures, refine in ((100, 0), (100, 50)):
        begun = seconds()
        walk = Walk(temperatures=temperatures, refine=refine)
        found = anneal(vae, data, walk=walk, seed=options.seed)
        between = bracket(vae, data, walk=walk, rows=100, seed=options.seed)
        assert between.upper is not None
        print(
            f"  annealed, {temperatures} temperatures, q refined in {refine} steps, - exact "
            f"{shown(found.log_px - exact)}; "
            f"bounds on simulated rows {shown(between.upper - between.log_px)} apart; {seconds() - begun:.0f} CPU s",
            flush=True,
        )


def of_run(options: argparse.Namespace) -> None:
    run = open_run(options.source)
    vae, test, seed = run.vae, run.data().test, options.seed
    generator = torch.Generator().manual_seed(seed)
    rows = test.take(torch.randperm(len(test), generator=generator)[: options.rows].sort().values)
    walk = Walk(
        chains=options.chains,
        temperatures=options.temperatures,
        leaps=options.leaps,
        refine=options.refine,
        start=options.start,
    )
    print(f"{options.source}, {len(rows)} rows; {dataclasses.asdict(walk)}")
    begun = seconds()
    between = bracket(vae, rows, walk=walk, rows=len(rows), seed=seed)
    assert between.upper is not None
    gap = between.upper - between.log_px
    print(
        f"  bounds on simulated rows: {between.log_px.mean():.3f} to {between.upper.mean():.3f}, {shown(gap)} apart, "
        f"effective chains {between.ess.mean():.1f}, accepted {between.accepted.mean():.2f}; "
        f"{seconds() - begun:.0f} CPU s",
        flush=True,
    )
    if options.bounds_only:
        return
    begun = seconds()
    found = anneal(vae, rows, walk=walk, seed=seed)
    print(f"  NLL, annealed: {shown(-found.log_px, 3)}; {seconds() - begun:.0f} CPU s", flush=True)
    bits = math.log(2) * math.prod(test.schema.shape)
    for refine in (0, 50):
        begun = seconds()
        scores = score(vae, rows, samples=options.samples, refine=refine, seed=seed)
        off = found.log_px - scores.log_px
        print(
            f"  NLL({options.samples}), q refined in {refine} steps: {shown(-scores.log_px, 3)}, "
            f"too high by {shown(off, 3)} nats, "
            f"{shown(off / bits)} bits a dimension; effective samples {scores.ess.mean():.1f}, share of Pareto k > .7 "
            f"{(scores.pareto_k > 0.7).double().mean():.3f}, median k {scores.pareto_k.median():.2f}; -ELBO "
            f"{shown(-scores.elbo, 3)}; {seconds() - begun:.0f} CPU s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("linear", "run"))
    parser.add_argument("source", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--temperatures", type=int, default=100)
    parser.add_argument("--leaps", type=int, default=5)
    parser.add_argument("--refine", type=int, default=50)
    parser.add_argument("--start", choices=("posterior", "prior"), default="posterior")
    parser.add_argument("--bounds-only", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    (linear if options.what == "linear" else of_run)(options)


if __name__ == "__main__":
    main()
