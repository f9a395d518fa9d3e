"""Draw the steps of a store: how alike their latents are, and the steps of one solution.

python docs/pictures/step_latents.py STORE OUT.svg [--problems 8]
"""

from __future__ import annotations

import argparse
import textwrap

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from rjepa_core import open_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("out")
    parser.add_argument("--problems", type=int, default=8)
    args = parser.parse_args()
    store = open_store(args.store)
    keys = sorted(store.keys())
    everything = np.concatenate([store.get(k).latents[0] for k in keys]).astype(np.float32)
    mean, spread = everything.mean(0), everything.std(0) + 1e-6
    records = [store.get(k) for k in keys]
    records = [r for r in records if 3 <= len(r.trace.spans) <= 9][: args.problems]
    vectors = [(r.latents[0].astype(np.float32) - mean) / spread for r in records]
    steps = np.concatenate(vectors)
    steps /= np.linalg.norm(steps, axis=-1, keepdims=True)
    matplotlib.rcParams.update({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "rjepa"})
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10.5, 4.6), gridspec_kw={"width_ratios": [1, 1.15]}, layout="constrained"
    )
    image = left.imshow(steps @ steps.T, cmap="RdBu_r", vmin=-1, vmax=1)
    edges = np.cumsum([0, *(len(v) for v in vectors)])
    for edge in edges[1:-1]:
        left.axhline(edge - 0.5, color="black", lw=0.5)
        left.axvline(edge - 0.5, color="black", lw=0.5)
    middles = (edges[:-1] + edges[1:] - 1) / 2
    left.set_yticks(middles, [r.key.problem_id for r in records])
    left.set_xticks(middles, [r.key.problem_id.removeprefix("demo-") for r in records])
    left.set_title(f"{len(steps)} steps of {len(records)} solutions: cosine of their latents")
    figure.colorbar(image, ax=left, shrink=0.7)
    shown = max(records, key=lambda r: (len(r.trace.spans) <= 6, len(r.trace.spans)))
    draw_solution(right, shown)
    figure.savefig(args.out, bbox_inches="tight", metadata={"Date": None})
    print(f"{args.out}: {len(steps)} steps of {len(records)} solutions")


def draw_solution(axes: plt.Axes, record: object) -> None:
    trace = record.trace  # type: ignore[attr-defined]
    lines = [("problem", "\n".join(textwrap.wrap(trace.problem.statement, 66)))]
    for i, (span, text) in enumerate(zip(trace.spans, trace.step_texts, strict=True), 1):
        shown = textwrap.shorten(text, 62 * 2, placeholder=" …").replace("$", r"\$")
        lines.append((f"step {i}\n{span.start}:{span.stop}", "\n".join(textwrap.wrap(shown, 66))))
    axes.axis("off")
    axes.set_title(f"{trace.problem.id}: one vector for each step")
    y = 1.0
    for label, text in lines:
        height = 0.055 * max(2, text.count("\n") + 1) + 0.025
        axes.text(0.0, y, label, va="top", color="#555", transform=axes.transAxes, fontsize=8)
        axes.text(0.13, y, text, va="top", transform=axes.transAxes, fontsize=8.5)
        y -= height


if __name__ == "__main__":
    main()
