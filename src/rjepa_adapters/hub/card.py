"""The cards of repositories on the hub: what is in them, and how it is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rjepa_core.domain.identity import LatentSpace
from rjepa_core.ports.store import LatentStore
from rjepa_core.ports.world_model import WorldModelInfo
from rjepa_core.text import count
from rjepa_core.version import __version__


def store_card(store: LatentStore, repo_id: str) -> str:
    """Return the card of a store that holds records."""
    identity, stats = store.identity, store.stats()
    assert identity is not None
    generation = identity.generation
    facts = {
        "Records": f"{stats.records:,} of {count(stats.problems, 'problem')}",
        "Steps": f"{stats.steps:,}",
        "Traces": "given solutions"
        if generation.kind == "given"
        else f"sampled, temperature {generation.temperature}, seed {generation.seed}",
        "Log-probabilities": "of each step, in nats a token" if identity.logprobs else "none",
        **_space_facts(identity.space, identity.labels.get("model", "")),
    }
    code = [
        "import rjepa_core as rj",
        "",
        f'with rj.open_store("hf:{repo_id}") as store:',
        "    for record in store:",
        "        print(record)                # latents [L, S, D], texts, answers",
        "    steps = store.arrays()           # float32 [N, D]",
    ]
    return _card("rjepa-store", repo_id, "Step latents of a frozen LLM's reasoning.", facts, code)


def world_model_card(info: WorldModelInfo, repo_id: str, model: str) -> str:
    """Return the card of a world model, of the LLM `model`, empty if its name is not known."""
    llm = [f"llm = {json.dumps(model, ensure_ascii=False)}"]
    if not model:
        llm = [
            "# llm: the folder, or the name on the hub, of the LLM whose weights are",
            f"# {info.space.model}",
        ]
    facts = {
        "Objective": f"{info.network} {info.objective}",
        "Verifier": "yes" if info.verifies else "no",
        "Seed": "unknown" if info.seed is None else str(info.seed),
        **_space_facts(info.space, model),
    }
    code = [
        "import rjepa_core as rj",
        "",
        f'world_model = rj.open_world_model("hf:{repo_id}")',
        *llm,
        'found = rj.score_text(world_model, "What is 2 + 3?", "2 + 3 = 5", model=llm)',
        "print(found.surprise)                # float32 [S], one per step",
    ]
    what = "A world model over the step latents of a frozen LLM's reasoning."
    return _card("rjepa-world-model", repo_id, what, facts, code)


def _space_facts(space: LatentSpace, model: str) -> dict[str, str]:
    return {
        **({"Model": f"`{model}`"} if model else {}),
        "Weights": f"`{space.model}`",
        "Quantisation": space.quantisation,
        "Layers": ", ".join(map(str, space.layers)),
        "Vectors": f"{space.hidden_size} dimensions, {space.store_dtype}, {space.pooling} over a "
        "step's tokens",
        "Steps cut by": space.steps,
        "Latent space": f"`{space.fingerprint}`",
    }


def _card(tag: str, repo_id: str, what: str, facts: Mapping[str, str], code: Sequence[str]) -> str:
    head = ["---", "library_name: rjepa", "tags:", "- rjepa", f"- {tag}", "---"]
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(
        [
            *head,
            f"# {repo_id.partition('/')[2]}",
            "",
            f"{what} Made with rjepa {__version__}.",
            "",
            "| | |",
            "|:--|:--|",
            *rows,
            "",
            "```python",
            *code,
            "```",
            "",
        ]
    )
