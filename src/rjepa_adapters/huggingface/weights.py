"""Check that every weight of a model came from its files.

Transformers silently initialises a parameter that no file has with random values.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from rjepa_core.errors import UsageError
from rjepa_core.text import count

log = logging.getLogger(__name__)

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHOWN = 3
# Leftovers in old files: buffers that a model computes itself, never weights.
_COMPUTED = re.compile(r"(inv_freq|masked_bias|position_ids|attn\.bias|attention\.bias)$")


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint that transformers would read.

    Raises:
        UsageError: the index cannot be read, or names missing files.
    """
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    index = folder / INDEX
    if not index.is_file():
        return []
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"model.name: {index} cannot be read ({error}); fetch it again") from error
    files = [folder / name for name in sorted(named)]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise UsageError(
            f"model.name: {folder} is not complete: {INDEX} names {len(files)} files and "
            f"{len(absent)} of them {'is' if len(absent) == 1 else 'are'} not there "
            f"({first_names(absent)}); fetch the rest"
        )
    return files


def stored_elements(files: Iterable[Path]) -> dict[str, int]:
    """Return the number of elements of each tensor in safetensors files, from their headers.

    Raises:
        UsageError: a file is damaged or cut short.
    """
    from safetensors import safe_open

    sizes: dict[str, int] = {}
    for file in files:
        try:
            with safe_open(file, framework="np") as opened:
                for name in opened.keys():  # noqa: SIM118  not a mapping
                    sizes[name] = math.prod(opened.get_slice(name).get_shape())
        except Exception as error:  # safetensors' own class, or the system's
            raise UsageError(f"model.name: {file} {_why_damaged(file, error)}") from error
    return sizes


def check_filled(name: str, model: Any, info: Mapping[str, Any], stored: Mapping[str, int]) -> None:
    """Refuse a model that its files did not fill, or whose files belong to another model.

    Args:
        name: of the checkpoint, for messages.
        model: as `from_pretrained` returned it.
        info: as `output_loading_info` returned it.
        stored: number of elements of each tensor of the files; empty if unknown.

    Raises:
        UsageError: names the tensors.
    """
    unexpected = sorted(info.get("unexpected_keys") or ())
    mismatched = sorted(info.get("mismatched_keys") or ())
    if mismatched:
        key, theirs, ours = mismatched[0]
        raise UsageError(
            f"model.name: {name}: {count(len(mismatched), 'tensor')} of its files differ in shape "
            f"from what config.json says ({first_names([m[0] for m in mismatched])}; {key} is "
            f"{list(theirs)}, not {list(ours)}); weights and configuration are of two models"
        )
    missing = set(info.get("missing_keys") or ())
    packed = _is_packed(model)
    if not packed:
        missing |= _unmarked(model)
    if not missing and stored and not packed:
        missing = _short_of(model, stored, unexpected)
    if missing:
        refuse_missing(name, missing, unexpected, sum(1 for _ in model.state_dict()))
    if not unexpected:
        return
    astray = [] if packed else _in_layers(model, unexpected)
    if astray:
        raise UsageError(
            f"model.name: {name}: no place for {count(len(astray), 'tensor')} of its decoder "
            f"layers in a {type(model).__name__} as config.json describes it "
            f"({first_names(astray)}); "
            "without them its vectors would be those of another model"
        )
    log.warning(
        "%s: no place for %s of its files in a %s, left out (%s)",
        name,
        count(len(unexpected), "tensor"),
        type(model).__name__,
        first_names(unexpected),
    )


def first_names(names: Collection[str]) -> str:
    """Return the first few names, for a message."""
    shown = list(names)[:_SHOWN]
    return ", ".join(shown) + (", …" if len(names) > _SHOWN else "")


def refuse_missing(
    name: str, missing: Collection[str], unexpected: Collection[str], total: int
) -> None:
    """Report which tensors no file has, and the likely reason.

    Raises:
        UsageError: always.
    """
    names = sorted(missing)
    raise UsageError(
        f"model.name: {name}: its files lack {len(names)} of the model's "
        f"{count(total, 'tensor')} ({first_names(names)}), which would have random values; "
        f"{_reason(names, unexpected)}"
    )


def refuse_unconverted(name: str, names: Collection[str]) -> None:
    """Report which of the model's tensors could not be assembled from those of its files.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"model.name: {name}: {count(len(names), 'tensor')} of the model cannot be made from its "
        f"files ({first_names(names)}): parts are missing or have another shape; fetch or save it "
        "again"
    )


def _reason(missing: list[str], unexpected: Collection[str]) -> str:
    for theirs in unexpected:
        for ours in missing:
            if theirs.endswith(f".{ours}"):
                prefix = theirs.removesuffix(ours)
                return f"the files' names begin with {prefix!r}: save the weights without it"
    if unexpected:
        return (
            f"they have {len(unexpected)} that the model lacks "
            f"({first_names(sorted(unexpected))}): "
            "weights and config.json are of two models"
        )
    return (
        "the checkpoint is not complete, or config.json is another model's: fetch or save it again"
    )


def _is_packed(model: Any) -> bool:
    """Return whether weights are in a quantised form, whose tensors differ from the model's own."""
    quantiser = getattr(model, "hf_quantizer", None)
    if quantiser is None:
        return False
    return not getattr(quantiser.quantization_config, "dequantize", False)


def _unmarked(model: nn.Module) -> set[str]:
    """Return the parameters that transformers did not mark as loaded.

    Its list of missing keys omits those that a model's class declares to be optional.
    """
    marked = {
        name: bool(getattr(parameter, "_is_hf_initialized", False))
        for name, parameter in model.named_parameters()
    }
    if not any(marked.values()):  # a version that does not mark
        return set()
    return {name for name, there in marked.items() if not there}


def _short_of(model: nn.Module, stored: Mapping[str, int], unexpected: Collection[str]) -> set[str]:
    """Return the parameters that no file names, if the files have fewer elements than the model.

    Names alone do not suffice: transformers renames and joins tensors as it reads them.
    """
    read = sum(stored.values()) - sum(stored.get(name, 0) for name in unexpected)
    held = {name: parameter.numel() for name, parameter in model.named_parameters()}
    if read >= sum(held.values()):
        return set()
    return {name for name in held if name not in stored} or set(held)


def _in_layers(model: Any, unexpected: Iterable[str]) -> list[str]:
    """Return the tensors of decoder layers: without them the model would compute something else."""
    config = model.config.get_text_config()
    layers = int(getattr(config, "num_hidden_layers", 0) or 0)
    # Layers for drafting several tokens come after the others, and are not used here.
    drafting = int(getattr(config, "num_nextn_predict_layers", 0) or 0)
    places = [
        re.escape(name)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == layers
    ]
    base = re.escape(f"{model.base_model_prefix}.")
    places += [place.removeprefix(base) for place in places]
    if not places:
        return []
    layer = re.compile(rf"(?:{'|'.join(places)})\.(\d+)\.")
    found = []
    for name in unexpected:
        match = layer.match(name)
        draft = match is not None and layers <= int(match[1]) < layers + drafting
        if match is not None and not draft and not _COMPUTED.search(name):
            found.append(name)
    return found


def _why_damaged(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        if stream.read(24).startswith(b"version https://git-lfs"):
            return "holds a pointer of Git LFS instead of weights; run git lfs pull"
    return f"is damaged or cut short ({' '.join(str(error).split())[:120]}); fetch it again"
