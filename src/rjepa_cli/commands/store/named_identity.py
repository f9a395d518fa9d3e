"""Options that name the identity of shards without one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from rjepa_core.domain.identity import Generation, Identity, LatentSpace, PromptIdentity
from rjepa_core.errors import InputError, SettingsError, UsageError
from rjepa_core.settings import POOLINGS, STORED_STRATEGIES, check_template
from rjepa_core.text import count

from ...completion import files
from ...config import template_files
from .shard_folder import ShardShape

MARK = "named at import"
_SAMPLING = ("max_new_tokens", "temperature", "top_p", "top_k", "seed", "stop")
_REQUIRED = {
    "model": "--model NAME",
    "layer": "--layer N",
    "pooling": "--pooling",
    "compute_dtype": "--compute-dtype",
    "quantisation": "--quantisation",
    "steps": "--steps",
    "generation": "--generation",
}
_OPTIONS = (
    click.option("--model", metavar="NAME", help="The LLM that made the latents."),
    click.option(
        "--content",
        metavar="TEXT",
        help="The model's content, as `rjepa-cli show` prints it for a store of the same model, "
        "so that both have the same latent space.  [default: named:MODEL]",
    ),
    click.option(
        "--layer",
        type=int,
        multiple=True,
        metavar="N",
        help="Absolute, as transformers counts hidden_states: 0 the embeddings. Repeatable.",
    ),
    click.option(
        "--hidden-states",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of the model's hidden states (its layers plus one), for a negative --layer.",
    ),
    click.option("--pooling", type=click.Choice(POOLINGS), help="Over a step's tokens."),
    click.option(
        "--compute-dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Of the forward pass.",
    ),
    click.option("--quantisation", metavar="TEXT", help="`none`, `awq-4bit`, `gguf-Q4_1`, ...."),
    click.option(
        "--hidden-size", type=click.IntRange(min=1), metavar="D", help="[default: the shards']"
    ),
    click.option(
        "--steps",
        type=click.Choice(STORED_STRATEGIES),
        metavar="TEXT",
        help="How the steps were cut, as `rjepa-cli show` prints it: `auto` by the first rules, "
        "`auto-2`, `lines-2 without thinking`, ....",
    ),
    click.option(
        "--prompt-template",
        multiple=True,
        metavar="[DOMAIN=]FILE",
        help="Text with {statement} once in it. Repeatable.  [default: unknown]",
        shell_complete=files,
    ),
    click.option("--system", metavar="TEXT", help="System text, if there was one."),
    click.option("--thinking", is_flag=True, help="Models that can think were asked to."),
    click.option(
        "--chat-format",
        metavar="TEXT",
        help="Hash of the chat template, as `show --json` has it.  [default: plain]",
    ),
    click.option(
        "--tokenizer",
        metavar="TEXT",
        help="Content of the tokenizer, as `show` prints it.  [default: unknown]",
    ),
    click.option(
        "--date",
        metavar="DAY",
        help="The day for a chat template that reads the clock.  [default: unknown]",
    ),
    click.option(
        "--generation",
        type=click.Choice(["given", "sampled"]),
        help="Whether the solutions were given or sampled from the LLM.",
    ),
    click.option("--keep-notes", is_flag=True, help="Given solutions kept their <<...>> notes."),
    click.option("--max-new-tokens", type=click.IntRange(min=1), metavar="N", help="If sampled."),
    click.option("--temperature", type=click.FloatRange(min=0), metavar="X", help="If sampled."),
    click.option("--top-p", type=click.FloatRange(0, 1), metavar="X", help="If sampled."),
    click.option("--top-k", type=click.IntRange(min=1), metavar="N", help="If sampled."),
    click.option("--seed", type=click.IntRange(min=0), metavar="N", help="If sampled."),
    click.option("--stop", multiple=True, metavar="TEXT", help="If sampled. Repeatable."),
)
IDENTITY_GROUPS = {
    "Model": [
        "--model",
        "--content",
        "--tokenizer",
        "--chat-format",
        "--compute-dtype",
        "--quantisation",
        "--hidden-states",
    ],
    "Prompt": ["--prompt-template", "--system", "--thinking", "--date"],
    "Vectors": ["--layer", "--pooling", "--hidden-size", "--steps"],
    "Solutions": [
        "--generation",
        "--keep-notes",
        "--max-new-tokens",
        "--temperature",
        "--top-p",
        "--top-k",
        "--seed",
        "--stop",
    ],
}
F = TypeVar("F", bound=Callable[..., Any])


def identity_options(function: F) -> F:
    """Add all options from which `named_identity` makes an identity."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def given_options(options: dict[str, Any]) -> list[str]:
    """Return the flags of the options that were given."""
    return [
        f"--{name.replace('_', '-')}"
        for name, value in options.items()
        if value is not None and value is not False and value != ()
    ]


def named_identity(options: dict[str, Any], shape: ShardShape, where: str) -> Identity:
    """Return the identity that the options name, for vectors of a shape.

    Raises:
        UsageError: options are missing, all of which the message names, or do not fit.
    """
    missing = [flag for name, flag in _REQUIRED.items() if options[name] in (None, ())]
    if missing:
        raise UsageError(
            f"{where} has no identity.json, so that nothing says how its vectors were made; "
            f"name it with {', '.join(missing)}"
        )
    layers = _layers(options["layer"], options["hidden_states"])
    if len(layers) != shape.layers:
        raise InputError(
            f"{where}: the shards hold {count(shape.layers, 'layer')}, --layer names {layers}"
        )
    if options["hidden_size"] not in (None, shape.hidden_size):
        raise InputError(
            f"{where}: the shards' hidden size is {shape.hidden_size}, "
            f"not {options['hidden_size']} (--hidden-size)"
        )
    space = LatentSpace(
        model=options["content"] or f"named:{options['model']}",
        quantisation=options["quantisation"],
        compute_dtype=options["compute_dtype"],
        store_dtype=shape.store_dtype,
        layers=layers,
        pooling=options["pooling"],
        prompt=PromptIdentity(
            _templates(options["prompt_template"]),
            options["system"],
            options["thinking"],
            options["chat_format"] or "plain",
            options["date"],
        ),
        steps=options["steps"],
        hidden_size=shape.hidden_size,
        tokenizer=options["tokenizer"],
    )
    labels = {"model": options["model"], "identity": MARK}
    return Identity(space, _generation(options), shape.logprobs, labels)


def _layers(layers: Iterable[int], hidden_states: int | None) -> tuple[int, ...]:
    absolute = []
    for layer in layers:
        if layer < 0 and hidden_states is None:
            raise UsageError(
                f"--layer {layer}: give the absolute index, or add --hidden-states (the model's "
                "layers plus one)"
            )
        if hidden_states is not None and not -hidden_states <= layer < hidden_states:
            states = count(hidden_states, "hidden state")
            raise UsageError(f"--layer {layer}: with {states} there is none")
        absolute.append(layer % hidden_states if hidden_states else layer)
    if len(set(absolute)) < len(absolute):
        raise UsageError(f"--layer names a layer twice: {', '.join(map(str, absolute))}")
    return tuple(absolute)


def _templates(values: Iterable[str]) -> dict[str, str]:
    templates = {}
    for domain, where, text in template_files(values):
        if domain in templates:
            raise SettingsError(f"{where}: the domain {domain!r} has a template already")
        templates[domain] = check_template(text, where)
    return templates


def _generation(options: dict[str, Any]) -> Generation:
    sampling = {name: options[name] for name in _SAMPLING}
    if options["generation"] == "given":
        if unexpected := given_options(sampling):
            raise UsageError(
                f"{unexpected[0]}: given solutions were not sampled (--generation given)"
            )
        return Generation("given", keep_notes=options["keep_notes"])
    if options["keep_notes"]:
        raise UsageError("--keep-notes: only given solutions have notes (--generation sampled)")
    return Generation("sampled", **sampling)
