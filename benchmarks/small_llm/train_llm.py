"""Train a Llama-shaped model of a million parameters on generated word problems, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/small_llm/train_llm.py --out runs/small-llm-model

What comes out is an ordinary checkpoint folder (config, safetensors, tokenizer) that transformers
and `rjepa-cli extract --model` load. The loss is that of the solutions' tokens. Rows of one batch
have nearly one length, so that next to nothing is padded. It begins with problems of one to three
steps; without them it takes several times as long until it copies names and numbers at all.

The learning rate follows a cosine that is zero when the time is up: the model has settled by then,
and its slips are not the unsure ones of a model that was stopped on the way. That it could not have
learnt more from more problems is not said. Problems, their order and the first weights come from
the seed; how many of them are seen depends on the machine. A run that was broken off goes on from
its last checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from word_problems import EASY, PARTS, STEPS, TEMPLATE, WordProblem, problem, problems

EOS = "<|end|>"
# Batches are cut from so many problems, sorted by length.
_CHUNK = 32


def prompt(one: WordProblem) -> str:
    """What `rjepa-cli extract` makes of a statement with this template and no chat template."""
    return f"{TEMPLATE.format(statement=one.statement)}\n\nSolution:\n"


def make_tokenizer(count: int = 4000) -> PreTrainedTokenizerFast:
    """A tokenizer whose digits are tokens of their own, as are lines and whole words.

    A space goes with the word behind it, and in front of a number with the word before it.
    """
    core = Tokenizer(models.BPE())
    pieces = r"\d|\n| ?(?:[A-Za-z]+|[^\sA-Za-z\d])(?: (?=\d))?|\s"
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    texts = (prompt(p) + p.solution for p in itertools.islice(problems("corpus", seed=1), count))
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        min_frequency=20,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, pad_token=EOS)


def make_model(tokenizer: PreTrainedTokenizerFast, layers: int, width: int) -> LlamaForCausalLM:
    """A model with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


Row = tuple[list[int], int]


def row(tokenizer: PreTrainedTokenizerFast, one: WordProblem) -> Row:
    """A problem's ids with its solution's, and how many are the prompt's."""
    asked = tokenizer(prompt(one), add_special_tokens=False).input_ids
    said = tokenizer(one.solution, add_special_tokens=False).input_ids
    return [*asked, *said, tokenizer.eos_token_id], len(asked)


def batches(
    tokenizer: PreTrainedTokenizerFast, size: int, seed: int, first: int, easy: int = 0
) -> Iterator[list[Row]]:
    """Batches of the corpus from one on, each the same however the run came there."""
    for chunk in itertools.count(first // _CHUNK):
        begin = chunk * _CHUNK * size
        rows = [
            row(tokenizer, problem("corpus", i, seed, EASY if i < easy else STEPS))
            for i in range(begin, begin + _CHUNK * size)
        ]
        rows.sort(key=lambda one: len(one[0]))
        order = np.random.default_rng((seed, chunk)).permutation(_CHUNK)
        for place in order[first % _CHUNK if chunk == first // _CHUNK else 0 :]:
            yield rows[place * size : (place + 1) * size]


def loss_of(model: LlamaForCausalLM, rows: list[Row]) -> torch.Tensor:
    """Mean loss over the solutions' tokens."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    counted = torch.zeros((len(rows), longest), dtype=torch.bool)
    for i, (own, asked) in enumerate(rows):
        ids[i, : len(own)] = torch.tensor(own)
        counted[i, asked - 1 : len(own) - 1] = True
    # Padding stands behind each row, where no token that counts sees it.
    states = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    chosen = counted[:, :-1]
    return torch.nn.functional.cross_entropy(
        model.lm_head(states[chosen]), ids[:, 1:][chosen], reduction="mean"
    )


@torch.no_grad()
def solve(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    some: list[WordProblem],
    temperature: float = 0.0,
) -> list[str]:
    """What the model says to each."""
    model.eval()
    tokenizer.padding_side = "left"
    coded = tokenizer([prompt(p) for p in some], padding=True, return_tensors="pt")
    chosen: dict[str, Any] = (
        {"do_sample": True, "temperature": temperature, "top_k": 0}
        if temperature
        else {"do_sample": False}
    )
    out = model.generate(
        input_ids=coded.input_ids,
        attention_mask=coded.attention_mask,
        max_new_tokens=160,
        pad_token_id=tokenizer.eos_token_id,
        **chosen,
    )
    model.train()
    said = out[:, coded.input_ids.shape[1] :]
    return list(tokenizer.batch_decode(said, skip_special_tokens=True))


def is_right(one: WordProblem, said: str) -> bool:
    return said.strip().rpartition("\n")[2] == f"Answer: {one.answer}"


def evaluated(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, part: str, count: int
) -> str:
    """How many of a part are solved greedily, over all and by the number of steps."""
    some = list(itertools.islice(problems(part, seed=99), count))
    right = [is_right(p, said) for p, said in zip(some, solve(model, tokenizer, some), strict=True)]
    by_steps = [
        f"{n}: {np.mean([r for r, p in zip(right, some, strict=True) if len(p.steps) == n]):.2f}"
        for n in sorted({len(p.steps) for p in some})
    ]
    return f"{part} {np.mean(right):.2f} ({', '.join(by_steps)})"


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, args.layers, args.width)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.98),
    )
    state, done, tokens, spent = args.out / "training.pt", 0, 0, 0.0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        done, tokens, spent = kept["done"], kept["tokens"], kept["spent"]
    count = sum(p.numel() for p in model.parameters())
    print(f"{count:,} parameters, vocabulary of {len(tokenizer)}, from step {done}", flush=True)
    whole, seen = args.minutes * 60, 0
    # Time that an earlier run spent counts.
    begun = time.monotonic() - spent
    losses: list[float] = []
    saved = told = time.monotonic()
    for rows in batches(tokenizer, args.batch, args.seed, done, args.easy):
        share = min(1.0, (time.monotonic() - begun) / whole)
        rate = args.lr * min(1.0, (done + 1) / args.warmup) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(model, rows)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        seen += sum(len(ids) for ids, _ in rows)
        done += 1
        now = time.monotonic()
        last = now - begun >= whole
        if now - told > 30 or last:
            print(
                f"step {done}  loss {np.mean(losses):.4f}  rate {rate:.1e}  "
                f"{tokens + seen:,} tokens  {seen / (now - begun - spent):,.0f} tokens/s  "
                f"{(whole - now + begun) / 60:.1f} min left",
                flush=True,
            )
            told, losses = now, []
        if now - saved > args.every or last:
            save(args.out, model, tokenizer)
            kept = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            counts = {"done": done, "tokens": tokens + seen, "spent": now - begun}
            torch.save({**kept, **counts}, state)
            print("  ", evaluated(model, tokenizer, "corpus", 64), flush=True)
            saved = time.monotonic()
        if last:
            break
    print("solved greedily:")
    for part in PARTS:
        print("  ", evaluated(model, tokenizer, part, 200), flush=True)


def save(out: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    model.generation_config.pad_token_id = tokenizer.eos_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--easy", type=int, default=40_000, help="problems of one to three steps")
    parser.add_argument("--minutes", type=float, default=80, help="over which the rate falls to 0")
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=300, help="seconds between checkpoints")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
