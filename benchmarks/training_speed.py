"""Training samples a second: ours against the original's way of feeding the same model.

Both sides train the default model with the same batch size, optimiser, loss, precision and threads
on the same store. The other side does what the original did: all latents are loaded into memory
(as float32), batches are drawn from traces of any length, a mask is made a sample at a time in
Python, boolean masks are turned into index lists in Python, and every position is padded to the
longest of its batch. Rounds are run in turn.

    python benchmarks/training_speed.py --store DIR [--rounds 3] [--no-report]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from reporting import table, write_section
from rjepa_adapters.world_model.batches import LengthBatches
from rjepa_adapters.world_model.dataset import LatentDataset
from rjepa_adapters.world_model.index import open_index
from rjepa_adapters.world_model.masks import Masker
from rjepa_adapters.world_model.model import Block
from rjepa_adapters.world_model.network import Network
from rjepa_adapters.world_model.normalise import Standardiser
from rjepa_adapters.world_model.objectives import squared_distances
from rjepa_adapters.world_model.optimiser import optimiser_of
from rjepa_adapters.world_model.workers import Loader
from rjepa_core.domain.problem import Split
from rjepa_core.settings import TrainSettings


def attend(block: Block, x: Tensor, seen: Tensor) -> Tensor:
    """The block's attention and network over padded tokens; `seen` bool [B, T] may be attended."""
    rows, tokens, width = x.shape
    shape = (rows, tokens, block.heads, width // block.heads)
    q, k, v = block.qkv(block.norm_1(x)).chunk(3, -1)
    q, k, v = (one.view(shape).transpose(1, 2) for one in (q, k, v))
    made = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None, :])
    made = made.transpose(1, 2).reshape(rows, tokens, width)
    x = x + block.dropout(block.out(made))
    return x + block.dropout(block.down(F.gelu(block.up(block.norm_2(x)))))


def padded_loss(
    network: Network, steps: Tensor, prompt: Tensor, real: Tensor, shown: Tensor
) -> Tensor:
    """The `frozen` objective where every position of the longest trace is computed.

    Args:
        network: whose weights are trained.
        steps: [B, S, D], standardised, zeros behind the end of a trace.
        prompt: [B, D].
        real, shown: bool [B, S].
    """
    jepa, settings = network.jepa, network.objective.training_settings
    encoder, predictor = jepa.encoder, jepa.predictor
    rows, count, width = steps.shape
    places = torch.arange(count)
    assert encoder.prompt_in is not None
    first = encoder.start + encoder.prompt_in(prompt)
    x = torch.cat([first[:, None], encoder.step_in(steps) + encoder.position[places]], 1)
    always = torch.ones(rows, 1, dtype=torch.bool)
    for block in encoder.blocks:
        x = attend(block, x, torch.cat([always, shown], 1))
    context = predictor.context_in(encoder.norm(x))
    context = torch.cat([context[:, :1], context[:, 1:] + predictor.position[places]], 1)
    asked = (predictor.mask + predictor.position[places]).expand(rows, -1, -1)
    x = torch.cat([context, asked], 1)
    for block in predictor.blocks:
        x = attend(block, x, torch.cat([always, shown, real & ~shown], 1))
    made = predictor.out(predictor.norm(x[:, 1 + count :]))
    if jepa.linear is not None:
        seen = F.pad(steps * shown[..., None], (0, 0, 1, 1))
        mean = seen.sum(1) / shown.sum(1, keepdim=True).clamp(min=1)
        last = F.one_hot(real.sum(1) - 1, count)
        facts = torch.stack([last, (places == 0).expand_as(last), torch.ones_like(last)], -1)
        parts = [seen[:, :-2], mean[:, None].expand(-1, count, -1)]
        prompts, none = prompt[:, None].expand(-1, count, -1), shown.cumsum(1) - shown.long() == 0
        parts += [prompts, seen[:, 2:], prompts * none[..., None], facts.to(steps.dtype)]
        made = made + jepa.linear.others(torch.cat(parts, -1))
    hidden = real & ~shown
    # Boolean masks become lists of indices in Python.
    chosen, kept = places_of(hidden), places_of(real)
    label = {place: i for i, place in enumerate(kept)}
    predicted = made.reshape(rows * count, -1)[chosen]
    targets = steps.reshape(rows * count, width)
    loss = settings.regression * F.mse_loss(predicted, targets[chosen])
    distance = squared_distances(predicted, targets[kept]) / width
    logits = -distance * torch.exp(-network.objective.log_temperature)
    labels = torch.tensor([label[place] for place in chosen])
    return loss + settings.contrastive * F.cross_entropy(logits, labels)


def places_of(mask: Tensor) -> list[int]:
    """Flat positions of a boolean mask [B, S], found in Python."""
    count = mask.shape[1]
    rows = enumerate(mask.tolist())
    return [b * count + s for b, row in rows for s, chosen in enumerate(row) if chosen]


@attrs.define
class Original:
    """Everything in memory, masks a sample at a time, padding to the longest."""

    traces: list[tuple[Tensor, Tensor]]
    settings: TrainSettings
    random: random.Random = attrs.field(factory=lambda: random.Random(0))

    @classmethod
    def load(cls, data: LatentDataset, settings: TrainSettings) -> Original:
        traces = []
        for rows in LengthBatches(data.index.steps, 256, ordered=True):
            batch = data.__getitems__(rows)
            traces += list(zip(batch.latents, batch.prompts, strict=True))
        return cls(traces, settings)

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        order = list(range(len(self.traces)))
        self.random.shuffle(order)
        size = self.settings.training.batch_size
        for begin in range(0, len(order), size):
            chosen = [self.traces[i] for i in order[begin : begin + size]]
            longest = max(len(latents) for latents, _ in chosen)
            steps = torch.zeros(len(chosen), longest, chosen[0][0].shape[1])
            real = torch.zeros(len(chosen), longest, dtype=torch.bool)
            shown = torch.zeros(len(chosen), longest, dtype=torch.bool)
            for row, (latents, _) in enumerate(chosen):
                steps[row, : len(latents)] = latents
                real[row, : len(latents)] = True
                shown[row, : len(latents)] = torch.tensor(self._mask(len(latents)))
            yield steps, torch.stack([prompt for _, prompt in chosen]), real, shown

    def _mask(self, count: int) -> list[bool]:
        """True where a step is visible; the kinds of masks that ours draws, sample by sample."""
        weights = self.settings.masker.masks
        kind = self.random.choices(list(weights), list(weights.values()))[0]
        if kind == "leave_one_out":
            hidden = {self.random.randrange(count)}
        elif kind == "causal":
            hidden = set(range(self.random.randrange(count), count))
        else:
            low, high = self.settings.masker.min_ratio, self.settings.masker.max_ratio
            share = self.random.uniform(low, high)
            many = max(1, min(round(share * count), count - 1))
            start = self.random.randrange(count - many + 1)
            hidden = set(range(start, start + many))
        return [place not in hidden for place in range(count)]


def train_ours(network: Network, data: LatentDataset, settings: TrainSettings, epoch: int) -> dict:
    """One epoch; seconds of its parts and in all."""
    optimiser, masker = optimiser_of(network, settings), Masker(settings.masker)
    sampler = LengthBatches(data.index.steps, settings.training.batch_size, 0)
    sampler.set_epoch(epoch)
    generator = torch.Generator().manual_seed(epoch)
    parts = {"read": 0.0, "forward": 0.0, "backward": 0.0, "optimiser": 0.0}
    network.train()
    began = last = time.perf_counter()

    def passed(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        parts[name] += now - last
        last = now

    for batch in Loader(data, sampler, settings.training.num_workers):
        passed("read")
        mask = masker.draw(len(batch), batch.latents.shape[1], generator)
        steps, prompts = network.standardise(batch.latents, batch.prompts)
        losses = network.objective(network.jepa, steps, prompts, batch.domains, mask, generator)
        passed("forward")
        optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        passed("backward")
        optimiser.step()
        float(losses.total.detach())
        passed("optimiser")
    return {**parts, "all": time.perf_counter() - began}


def train_original(network: Network, side: Original, settings: TrainSettings) -> dict:
    optimiser = optimiser_of(network, settings)
    network.train()
    began = time.perf_counter()
    for latents, prompts, real, shown in side.batches():
        steps, prompt = network.standardise(latents, prompts)
        loss = padded_loss(network, steps * real[..., None], prompt, real, shown)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        float(loss.detach())
    return {"all": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = TrainSettings()
    settings = attrs.evolve(settings, data=attrs.evolve(settings.data, stores=(args.store,)))
    data = LatentDataset(open_index(settings.data, Split.TRAIN))
    statistics_of = Standardiser.fit(data)
    side = Original.load(data, settings)
    count = len(data)
    sides: dict[str, list[dict]] = {"ours": [], "original": []}
    for round_ in range(args.rounds):
        order = ["ours", "original"] if round_ % 2 == 0 else ["original", "ours"]
        for name in order:
            torch.manual_seed(round_)
            network = Network(settings, statistics_of, 1)
            if name == "ours":
                found = train_ours(network, data, settings, round_)
            else:
                found = train_original(network, side, settings)
            sides[name].append(found)
            print(
                f"round {round_ + 1}: {name} {count / found['all']:.0f} samples/s", file=sys.stderr
            )
    rate = {name: [count / one["all"] for one in found] for name, found in sides.items()}
    ratios = [a / b for a, b in zip(rate["ours"], rate["original"], strict=True)]
    rows = [
        [
            {"ours": "ours", "original": "the original's way"}[name],
            f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})",
        ]
        for name, values in rate.items()
    ]
    whole = statistics.median(one["all"] for one in sides["ours"])
    shares = ", ".join(
        f"{part} {statistics.median(one[part] for one in sides['ours']) / whole:.0%}"
        for part in ("read", "forward", "backward", "optimiser")
    )
    lengths = np.asarray(data.index.steps)
    text = (
        f"One epoch over {count:,} traces of {lengths.mean():.1f} steps on average (longest "
        f"{lengths.max()}), hidden size {data.index.hidden_size}, the default model, batch size "
        f"{settings.training.batch_size}, float32, {args.threads} threads; {args.rounds} rounds in "
        "turn, median (smallest–largest).\n\n"
        + table(["", "samples/s"], rows)
        + f"\n\nRatio {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}). "
        f"Where the time goes in ours: {shares}."
    )
    if args.no_report:
        print(text)
    else:
        write_section(
            "training-speed",
            "Training speed",
            text,
            "python benchmarks/training_speed.py --store DIR",
        )


if __name__ == "__main__":
    main()
