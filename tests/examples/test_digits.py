"""The digits example: its objective, its training loop, and the checkpoint that it produced."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.data import digits_checkpoint
from ddgan_deploy.families.ddgan.schedule import Schedule

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "digits"))

import train
from checkpoints import load_training_state
from data import Batches, training_images
from discriminator import Discriminator, with_minibatch_std
from generate import generate
from judge import Verdict, verdict
from losses import Diffusion, discriminator_loss, generator_loss, r1_penalty
from training import LAST_LR, EmaAdam, Trainer

SMALL = "--threads 1 --batch-size 8 --num-channels-dae 8 --nz 4 --z-emb-dim 8 --n-mlp 1 --ngf 4 --t-emb-dim 8"


def options(out: Path, *more: str) -> argparse.Namespace:
    return train.parse(["--out", str(out), *SMALL.split(), *more])


def run(out: Path, *more: str) -> Trainer:
    return train.train(options(out, *more), Console(stderr=True, quiet=True))


# The objective


def test_losses_are_the_ones_of_the_paper() -> None:
    real, fake = torch.tensor([0.0, math.log(3)]), torch.tensor([0.0, math.log(3)])
    # D = sigmoid(logit) is 1/2 and 3/4: -log D(real) - log(1 - D(fake)) and -log D(fake).
    expected = torch.tensor([2 * math.log(2), math.log(4 / 3) + math.log(4)])
    torch.testing.assert_close(discriminator_loss(real, fake), expected)
    torch.testing.assert_close(generator_loss(fake), torch.tensor([math.log(2), math.log(4 / 3)]))


def test_r1_is_the_squared_gradient_of_each_image() -> None:
    images = torch.arange(8.0).reshape(2, 1, 2, 2).requires_grad_()
    # D(x) = 3 sum(x^2) / 2, whose gradient is 3 x.
    penalty = r1_penalty(1.5 * images.square().sum(dim=(1, 2, 3)), images)
    torch.testing.assert_close(penalty, torch.tensor([9.0 * (0 + 1 + 4 + 9), 9.0 * (16 + 25 + 36 + 49)]))
    assert penalty.requires_grad


def test_pairs_are_neighbours_of_the_forward_process() -> None:
    torch.manual_seed(0)
    schedule = Schedule(4)
    diffusion = Diffusion(schedule)
    alpha_bar = np.cumprod(1 - schedule.betas.astype(np.float64))
    for t in range(4):
        x_t, x_next = diffusion.pair(torch.full((400, 1, 16, 16), 0.5), torch.full((400,), t))
        before = 1.0 if t == 0 else alpha_bar[t - 1]
        assert x_t.mean().item() == pytest.approx(0.5 * math.sqrt(before), abs=0.01)
        assert x_t.std().item() == pytest.approx(math.sqrt(1 - before), abs=0.01)
        assert x_next.mean().item() == pytest.approx(0.5 * math.sqrt(alpha_bar[t]), abs=0.01)
        assert x_next.std().item() == pytest.approx(math.sqrt(1 - alpha_bar[t]), abs=0.01)
        step = x_next - math.sqrt(1 - schedule.betas[t]) * x_t
        assert step.std().item() == pytest.approx(math.sqrt(schedule.betas[t]), abs=0.01)
        assert np.corrcoef(step.flatten(), x_t.flatten())[0, 1] == pytest.approx(0, abs=0.01)


def test_the_posterior_of_the_truth_has_the_marginal_of_the_forward_process() -> None:
    torch.manual_seed(0)
    diffusion = Diffusion(Schedule(4))
    x_0 = torch.full((400, 1, 16, 16), -0.7)
    for t in range(4):
        times = torch.full((400,), t)
        pair = diffusion.pair(x_0, times)
        drawn = diffusion.posterior(x_0, pair.x_next, times)
        assert drawn.mean().item() == pytest.approx(pair.x_t.mean().item(), abs=0.01)
        assert drawn.std().item() == pytest.approx(pair.x_t.std().item(), abs=0.01)


def test_the_last_posterior_step_is_the_image_itself() -> None:
    x_0 = torch.rand(3, 1, 4, 4)
    drawn = Diffusion(Schedule(4)).posterior(x_0, torch.randn_like(x_0), torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(drawn, x_0, rtol=0, atol=1e-6)


def test_minibatch_std_is_that_of_the_group() -> None:
    x = torch.zeros(8, 2, 1, 1)
    x[::2, 0] = torch.tensor([0.0, 2, 0, 2])[:, None, None]  # the even images form one group
    y = with_minibatch_std(x)
    assert y.shape == (8, 3, 1, 1)
    # Stds 1 and (almost) 0 of its two features: mean 0.5; the odd images are all alike.
    torch.testing.assert_close(y[:, 2].flatten(), torch.tensor([0.5, 0] * 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(y[:, :2], x)


def test_the_discriminator_hears_time_and_both_states() -> None:
    torch.manual_seed(0)
    judge = Discriminator(1, width=8, embedding=16)
    a, b, t = torch.randn(5, 1, 16, 16), torch.randn(5, 1, 16, 16), torch.arange(5) % 4
    logits = judge(a, b, t)
    assert logits.shape == (5,)
    for other in (judge(b, a, t), judge(a, b, (t + 1) % 4)):
        assert (other - logits).abs().min() > 1e-5


# The optimizer and the data


def test_the_average_follows_the_weights() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = EmaAdam([weight], ema_decay=0.25, lr=0.5, betas=(0.0, 0.0))
    averages, expected = [], 1.0
    for step in range(1, 4):
        optimizer.zero_grad()
        weight.sum().backward()  # with these betas every step is -lr
        optimizer.step()
        decay = min(0.25, (1 + step) / (10 + step))
        now = 1 - 0.5 * step
        expected = now if step == 1 else decay * expected + (1 - decay) * now
        averages.append((optimizer.state[weight]["ema"].item(), expected))
    for average, wanted in averages:
        assert average == pytest.approx(wanted, abs=1e-5)


def test_an_epoch_is_a_permutation_and_any_step_can_be_asked_for() -> None:
    batches = Batches(torch.arange(10.0)[:, None, None, None], batch_size=3, seed=4)
    in_order = [batches[step] for step in range(6)]
    for epoch in range(2):
        drawn = torch.cat(in_order[3 * epoch : 3 * epoch + 3]).flatten().tolist()
        assert len(set(drawn)) == 9
    assert not torch.equal(torch.cat(in_order[:3]), torch.cat(in_order[3:]))
    fresh = Batches(batches.images, 3, seed=4)
    for step in (5, 0, 4):
        torch.testing.assert_close(fresh[step], in_order[step])
    with pytest.raises(ValueError, match=r"1\.\.10"):
        Batches(batches.images, 11, 0)


def test_training_images_fill_the_range_of_tanh() -> None:
    images = training_images()
    assert images.shape == (1797, 1, 16, 16)
    assert (images.min().item(), images.max().item()) == (-1, 1)


# The training loop


def test_a_run_leaves_both_published_forms(tmp_path: Path) -> None:
    trainer = run(tmp_path, "--iterations", "3")
    (flat,) = tmp_path.glob("netG_*.pth")
    assert flat.name == "netG_0.pth"
    weights = torch.load(flat, weights_only=True)
    assert all(name.startswith("module.") for name in weights)

    content = load_training_state(tmp_path / "content.pth")
    names = [name for name, _ in trainer.generator.named_parameters()]
    assert content["args"].num_channels_dae == 8
    assert (content["epoch"], content["global_step"]) == (0, 3)
    for index, name in enumerate(names):
        average = content["optimizerG"]["state"][index]["ema"]
        torch.testing.assert_close(average, weights[f"module.{name}"], rtol=0, atol=0)
    raw = content["netG_dict"]
    assert any(not torch.equal(raw[f"module.{n}"], weights[f"module.{n}"]) for n in names)

    for path in (flat, tmp_path / "content.pth"):
        checkpoint = load_checkpoint(path)
        assert checkpoint.model == trainer.config
        torch.testing.assert_close(dict(checkpoint.weights), trainer.ema_weights())
    assert (tmp_path / "sample_000003.png").stat().st_size > 1000
    rows = (tmp_path / "losses.csv").read_text().splitlines()
    assert rows[0].startswith("step,r1,d_loss_t0,d_loss_t1,d_loss_t2,d_loss_t3,g_loss_t0")
    assert [row.split(",")[0] for row in rows[1:]] == ["3"]
    assert not list(tmp_path.glob("*.partial"))


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ("--iterations", "5", "--save-every", "2")
    straight = run(tmp_path / "straight", *more)
    step = Trainer.step

    def interrupted(self: Trainer, x_0: torch.Tensor) -> object:
        if self.global_step == 3:
            raise KeyboardInterrupt
        return step(self, x_0)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", *more)
    monkeypatch.undo()
    torch.manual_seed(99)
    resumed = run(tmp_path / "broken", *more, "--resume")
    assert resumed.global_step == straight.global_step == 5
    for one, other in (
        (straight.generator, resumed.generator),
        (straight.discriminator, resumed.discriminator),
    ):
        torch.testing.assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(straight.ema_weights(), resumed.ema_weights(), rtol=0, atol=0)
    rates = [trainer.g_optimizer.param_groups[0]["lr"] for trainer in (straight, resumed)]
    assert rates == pytest.approx([LAST_LR, LAST_LR])


def test_a_step_lowers_no_loss_to_nonsense_and_moves_both_networks(tmp_path: Path) -> None:
    trainer = Trainer(train.settings(options(tmp_path)))
    before = [[p.detach().clone() for p in net.parameters()] for net in (trainer.generator, trainer.discriminator)]
    losses = trainer.step(training_images()[:8])
    assert losses.d_count.sum() == losses.g_count.sum() == 8
    assert torch.isfinite(losses.d_sum).all()
    assert losses.r1 is not None
    assert losses.r1 > 0
    assert trainer.step(training_images()[:8]).r1 is None
    for net, old in zip((trainer.generator, trainer.discriminator), before, strict=True):
        moved = [not torch.equal(p, q) for p, q in zip(net.parameters(), old, strict=True)]
        assert all(moved)


def test_a_run_is_not_overwritten_and_not_resumed_as_another_network(tmp_path: Path) -> None:
    run(tmp_path, "--iterations", "1")
    with pytest.raises(SystemExit, match="--resume"):
        run(tmp_path, "--iterations", "1")
    with pytest.raises(SystemExit, match="nz"):
        run(tmp_path, "--iterations", "1", "--resume", "--nz", "5")


# The checkpoint that it produced


@pytest.fixture(scope="module")
def bundled() -> Verdict:
    """The images of 500 seeds, judged."""
    generator = load_checkpoint(digits_checkpoint()).generator()
    return verdict(generate(generator, Schedule(4), range(500)))


def test_the_bundled_checkpoint_reaches_the_bars(bundled: Verdict) -> None:
    assert bundled.failures() == []


def test_the_bars_can_be_missed(bundled: Verdict) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 1), np.uint8)
    assert len(verdict(noise).failures()) >= 3


def test_the_bundled_checkpoint_is_small_and_says_where_it_comes_from(bundled: Verdict) -> None:
    assert digits_checkpoint().stat().st_size <= 4_000_000
    provenance = json.loads(digits_checkpoint().with_suffix(".json").read_text())
    assert provenance["command"].startswith("python examples/digits/train.py")
    assert provenance["quality"]["missed"] == []
    assert provenance["quality"]["seeds"] == 2000
    stated = provenance["quality"]["generated"]
    assert bundled.generated.precision == pytest.approx(stated["precision"], abs=0.08)
    assert bundled.generated.confidence == pytest.approx(stated["confidence"], abs=0.03)
