"""What a service serves, opened and checked before anyone calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import attrs
from attrs import validators as v

from ..domain.identity import known_together
from ..errors import UsageError
from ..plugins import Registry, open_store, open_world_model
from ..ports.store import LatentStore
from ..ports.world_model import WorldModel
from ..settings import AdapterSettings, ModelSettings
from ..stores import layer_in
from .neighbours import NearestSteps
from .text_encoder import TextEncoder, open_text_encoder


@attrs.frozen(kw_only=True)
class ServeSettings:
    """What is served.

    Attributes:
        world_model: a trained run.
        store: latents of its space: records to pick, and real steps near what was expected.
        device: that the world model runs on: `auto`, `cpu`, `cuda`, ….
        nearest_steps: most steps of the store that are searched, from its beginning; in memory
            they take two bytes a dimension of the target space.
        encode_tokens: most tokens of one forward pass of the LLM, padding included.
    """

    world_model: str = ""
    store: str | None = None
    device: str = "auto"
    nearest_steps: int = attrs.field(default=200_000, validator=v.and_(v.instance_of(int), v.ge(0)))
    encode_tokens: int = attrs.field(default=4096, validator=v.and_(v.instance_of(int), v.ge(1)))


@attrs.frozen(kw_only=True)
class ServeRunSettings:
    """All of one service.

    Attributes:
        serve: what is served.
        service: the adapter that serves it, and its limits.
        model: the LLM, needed to score texts.
        backend: that runs the LLM.
    """

    serve: ServeSettings = attrs.field(factory=ServeSettings)
    service: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="http"))
    model: ModelSettings | None = None
    backend: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="huggingface"))


@attrs.frozen(eq=False)
class StoredSteps:
    """A store beside a service.

    Attributes:
        store: open for reading.
        layer: the place of the world model's layer in it.
        nearest: its steps, searched by prediction.
    """

    store: LatentStore
    layer: int
    nearest: NearestSteps


@attrs.frozen(eq=False)
class Served:
    """All that a service needs; closed by whoever opened it.

    Attributes:
        world_model: the trained world model.
        encoder: of texts, where an LLM was named.
        stored: where a store was named.
    """

    world_model: WorldModel
    encoder: TextEncoder | None = None
    stored: StoredSteps | None = None


@contextmanager
def open_served(
    settings: ServeRunSettings,
    registry: Registry | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Served]:
    """Open world model, store and LLM, cheapest first; all of them of one latent space.

    Raises:
        UsageError: anything that the user can mend before anyone calls.
    """
    registry, asked = registry or Registry(), settings.serve
    if not asked.world_model:
        raise UsageError("serve.world_model: none is named; name a trained run")
    with ExitStack() as stack:
        world_model = open_world_model(asked.world_model, asked.device, registry)
        stack.callback(world_model.close)
        info, stored, encoder = world_model.info, None, None
        if asked.store is not None:
            store = open_store(asked.store, "read", registry)
            stack.callback(store.close)
            layer = layer_in(store, info.space, info.location)
            identity = store.identity
            assert identity is not None
            # What the world model does not know of its space, store and LLM must agree on.
            info = attrs.evolve(info, space=known_together(info.space, identity.space))
            say(f"reading the steps of {asked.store}")
            nearest = NearestSteps.of(store, world_model, asked.nearest_steps)
            stored = StoredSteps(store, layer, nearest)
        if settings.model is not None:
            say(f"loading {settings.model.name}")
            model = settings.model
            if model.device == "auto":
                model = attrs.evolve(model, device=asked.device)
            encoder = open_text_encoder(
                model, settings.backend, info, registry, asked.encode_tokens
            )
            stack.callback(encoder.close)
        yield Served(world_model, encoder, stored)
