"""`rjepa-cli serve`: serve a trained world model over HTTP, with a page that shows surprise."""

from __future__ import annotations

from typing import Any

import click

from rjepa_core.config import structure
from rjepa_core.errors import UsageError
from rjepa_core.plugins import Registry, ServiceAdapter
from rjepa_core.scoring import (
    ServeRunSettings,
    ServeSettings,
    check_logprobs,
    named,
    open_served,
)
from rjepa_core.settings import ModelSettings

from ..config import CONFIG_OPTIONS, JSON, gather
from ..console import Screen
from ..help import GroupedCommand
from ..options import FLAGS, Flag, flags_of
from ..signals import hangup_as_term
from ..wording import wording

DONE = 0
_KEY = "serve."
# What a service says of the address it listens on.
_SERVING = "serving "
SERVE_FLAGS = (
    Flag("--world-model", f"{_KEY}world_model", ServeSettings, metavar="RUN"),
    Flag("--model", "model.name", ModelSettings, metavar="NAME", extra="Needed to score texts"),
    Flag("--store", f"{_KEY}store", ServeSettings, metavar="[NAME:]PLACE"),
    Flag("--device", f"{_KEY}device", ServeSettings),
    *(flag for flag in FLAGS if flag.name in ("--dtype", "--backend")),
)
_GROUPS = {
    "What is served": ["--world-model", "--store", "--names"],
    "Model": ["--model", "--device", "--dtype", "--backend"],
    "Listening": ["--host", "--port", "--token-file"],
    "Batches": ["--batch-tokens", "--batch-wait-ms", "--batch-texts", "--queue", "--text-queue"],
    "Limits of a request": [
        "--body-bytes",
        "--steps",
        "--sequences",
        "--characters",
        "--request-characters",
        "--pending-bytes",
    ],
    "Limits of a connection": [
        "--header-seconds",
        "--body-seconds",
        "--answer-seconds",
        "--idle-seconds",
        "--connections",
        "--client-share",
        "--stop-seconds",
    ],
}
EPILOG = """\b
Examples:
  rjepa-cli serve --world-model runs/wm
  rjepa-cli serve --world-model runs/wm --model smollm2 --store runs/gsm8k
  curl -s localhost:8100/score_text -H 'content-type: application/json' \\
      -d '{"problem": "Ann had 3 boxes of 12 eggs, used 6. How many remain?",
           "solution": "There are 3*12 = 36 eggs.\\n36-6 = 30 are left."}'

\b
The page is at / and the endpoints are described at /docs. SIGTERM or Ctrl-C
finishes what was accepted, and ends with exit code 0. With RJEPA_TOKEN in the
environment, or --token-file, callers must send a token.
"""


def service_flags() -> list[Flag]:
    """Return the flags of the service's own settings."""
    name = ServeRunSettings().service.name
    adapter = Registry().find(ServiceAdapter, name)
    return flags_of([("service", adapter.settings)], [flag.name for flag in SERVE_FLAGS])


class _ServeCommand(GroupedCommand):
    """A command that makes its service's flags when they are needed."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = [flag.option() for flag in service_flags()]
        return [*super().get_params(ctx), *own]


@click.command(
    "serve",
    cls=_ServeCommand,
    groups=_GROUPS,
    params=[*(flag.option() for flag in SERVE_FLAGS), *CONFIG_OPTIONS, JSON],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, **params: Any) -> int:
    """Score reasoning as a service: latents or texts in, the surprise of each step out.

    Concurrent requests are batched; the same input always gets the same score.
    """
    tree = gather(ctx, ServeRunSettings, [*SERVE_FLAGS, *service_flags()])
    settings = structure(ServeRunSettings, tree)
    screen, named_flags = Screen(), wording()
    registry = Registry()
    service = registry.find(ServiceAdapter, settings.service.name)
    options = service.configure(settings.service.options, "service")
    service.check(options)
    with screen, open_served(settings, registry, screen.busy) as it:
        if it.stored is not None:
            for line in named(it.stored.nearest.refused, "its steps are not searched"):
                screen.warn(line)
            try:
                check_logprobs(it.stored.store, it.world_model.info)
            except UsageError as error:
                screen.warn(f"{named_flags(str(error))}; its records are scored without verdicts")

        def said(text: str) -> None:
            screen.say(named_flags(text))
            if params["json"] and (address := text.removeprefix(_SERVING)) != text:
                asked = {key: params[key] for key in ("world_model", "model", "store")}
                screen.json({"address": address, **asked})

        with hangup_as_term():
            service.serve(it, options, said)
        screen.say("stopped; all that was accepted is answered")
    return DONE
