"""Open and check what a service needs to answer requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import attrs
from attrs import validators as v

from ..config import checked
from ..domain.identity import known_together
from ..errors import UsageError
from ..plugins import Registry, open_store, open_world_model
from ..ports.store import LatentStore
from ..ports.world_model import WorldModel
from ..settings import AdapterSettings, ModelSettings
from ..stores import layer_in
from .neighbours import NearestSteps
from .text_encoder import TextEncoder, open_text_encoder


@checked("serve")
@attrs.frozen(kw_only=True)
class ServeSettings:
    """What is served.

    Attributes:
        world_model: a trained run.
        store: a store of its latent space, for its records and for steps near a prediction.
        device: of the world model: `auto`, `cpu`, `cuda`, ….
        nearest_steps: search only the first N steps of the store; each takes two bytes of memory
            per dimension of the target space.
        encode_tokens: most tokens of one forward pass of the LLM, padding included.
    """

    world_model: str = ""
    store: str | None = None
    device: str = "auto"
    nearest_steps: int = attrs.field(default=200_000, validator=v.and_(v.instance_of(int), v.ge(0)))
    encode_tokens: int = attrs.field(default=4096, validator=v.and_(v.instance_of(int), v.ge(1)))


@checked()
@attrs.frozen(kw_only=True)
class ServeRunSettings:
    """All of one service.

    Attributes:
        serve: what is served.
        service: the adapter that serves it, and its limits.
        model: the LLM, needed to score texts.
        backend: the adapter that runs the LLM.
    """

    serve: ServeSettings = attrs.field(factory=ServeSettings)
    service: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="http"))
    model: ModelSettings | None = None
    backend: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="huggingface"))


@attrs.frozen(eq=False)
class StoredSteps:
    """A store that a service reads.

    Attributes:
        store: open for reading.
        layer: index of the world model's layer among the store's.
        nearest: its steps, searched by prediction.
    """

    store: LatentStore
    layer: int
    nearest: NearestSteps


@attrs.frozen(eq=False)
class Served:
    """What a service needs to answer requests; the caller that opened it closes it.

    Attributes:
        world_model: the trained world model.
        encoder: encodes texts, if an LLM was named.
        stored: the store, if one was named.
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
        UsageError: anything that the user can fix before requests arrive.
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
            # Store and LLM must agree on what the world model does not know about its space.
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
