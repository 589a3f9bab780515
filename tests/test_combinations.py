"""docs/combinations.md: every line trains, every check that it names exists, and no name elsewhere is missing."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import torch

from variform.export.model_file import load_vae
from variform.faces import cli
from variform.runs.plan import begun, prepare
from variform.runs.train import _fit, _save_last

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "combinations.md").read_text(encoding="utf-8")
LINES = [
    line.strip("| ").split(" | ")
    for line in PAGE.splitlines()
    if line.startswith("| ") and "tests/" in line
]
OTHERS = {
    "pythae": "AE VAE BetaVAE DisentangledBetaVAE BetaTCVAE FactorVAE INFOVAE_MMD WAE_MMD VAMP IWAE MIWAE PIWAE CIWAE "
    "VAE_LinNF VAE_IAF HVAE RHVAE SVAE PoincareVAE MSSSIM_VAE VQVAE HRQVAE Adversarial_AE VAEGAN RAE_L2 RAE_GP",
    "PyTorch-VAE": "VanillaVAE BetaVAE BetaTCVAE CategoricalVAE ConditionalVAE DFCVAE DIPVAE FactorVAE GammaVAE HVAE "
    "InfoVAE IWAE JointVAE LogCoshVAE LVAE MIWAE MSSIMVAE SWAE TwoStageVAE VampVAE VQVAE WAE_MMD",
    "MultiVae": "CVAE JMVAE TELBO MVAE MMVAE MMVAEPlus MoPoE MVTCAE DMVAE JNF Nexus CMVAE CRMVAE MHVAE",
    "scvi-tools": "SCVI LinearSCVI CondSCVI SCANVI AUTOZI AmortizedLDA PEAKVI POISSONVI TOTALVI MULTIVI DestVI "
    "CellAssign SOLO JaxSCVI",
    "disent": "Ae Vae BetaVae DipVae InfoVae BetaTcVae DfcVae TripletVae TripletAe AdaVae AdaAe",
}


pytestmark = pytest.mark.usefixtures("single_precision")


@pytest.mark.parametrize("line", LINES, ids=[line[0] for line in LINES])
def test_a_check_that_is_named_exists(line):
    path, _, function = line[4].strip("`").partition("::")
    names = [
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert function in names or (not function and names)


TRAINED = {line[0]: line[3].strip("`") for line in LINES if "train digits" in line[3]}


@pytest.mark.parametrize("command", TRAINED.values(), ids=TRAINED)
def test_a_combination_trains(command, tmp_path, monkeypatch):
    """Some steps, with finite terms and changed weights, through the run that the command starts."""
    rows = []
    monkeypatch.setattr(
        "variform.faces.cli.train._train", lambda config, *_, **__: rows.append(config)
    )
    small = [] if "--empty-hidden" in command else ["--hidden", "16"]
    assert cli.run([*shlex.split(command)[1:], "--steps", "13", *small]) == 0
    config = begun(*rows)
    plan = prepare(config)
    splits, vae = plan.splits, plan.vae
    before = [value.clone() for value in vae.parameters()]
    options = {"resume": False, "progress": False, "pictures": False}
    options |= {"on_step": None, "on_epoch": None}
    history = _fit(plan.config, tmp_path, splits, vae, "", **options)
    _save_last(vae, history, tmp_path, None)
    assert load_vae(tmp_path / "last.safetensors").latent_dim == vae.latent_dim
    assert history.rows[-1]["step"] == 13 and not history.rollbacks
    assert all(
        abs(row["train_loss"]) < 1e5 and abs(row["valid_loss"]) < 1e5 for row in history.rows
    )
    assert any(not torch.equal(*pair) for pair in zip(before, vae.parameters(), strict=True))


@pytest.mark.parametrize("program", OTHERS)
def test_every_name_of_another_program_is_on_the_page(program):
    table = PAGE[PAGE.index(f"| {program} | here |") :].split("\n\n")[0]
    said = set(
        re.findall(r"[A-Za-z_0-9]+", " ".join(line.split(" | ")[0] for line in table.splitlines()))
    )
    assert set(OTHERS[program].split()) <= said
