"""What a tokenizer does, as a hash: equal however it is kept, different where ids may be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# How texts are shortened and filled up; never done here.
_RUNTIME = ("truncation", "padding", "version")
# What surrounds a text is seen in the ids of one; what else it does is about offsets.
_SEEN = ("post_processor",)
_TEXT = "The 2nd  step:\n\tx = 3.50 × 17 — naïve café, 漢字 🙂\r\n\n"


def tokenizer_content(tokenizer: Any, control: Mapping[int, str], template: str | None) -> str:
    """16 hexadecimal digits.

    Neither the files' layout nor what has no effect on ids and texts counts: the order of keys,
    which of nothing, false and absent a library writes, or the padding that was set last.

    Args:
        tokenizer: of transformers.
        control: ids that act as control tokens, and their texts.
        template: the chat template, which may write named special tokens.
    """
    named = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    text = _TEXT + "".join(f" {token} a{token}b" for token in control.values())
    facts = {
        **_pipeline(tokenizer),
        "control": {str(number): token for number, token in control.items()},
        "named": {name: token for name, token in named.items() if name in (template or "")},
        # By the very call that tokenises prompts: settings of transformers' own show in the ids.
        "ids": tokenizer(text, add_special_tokens=False).input_ids,
        "framed": tokenizer("a", add_special_tokens=True).input_ids,
    }
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pipeline(tokenizer: Any) -> dict[str, Any]:
    """Vocabulary, merges, and what is done to a text before and after."""
    try:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:  # the library has no narrower one
        # A part that is Python code cannot be written down.
        return {"vocabulary": tokenizer.get_vocab()}
    model = state.pop("model")
    if merges := model.get("merges"):
        # Older files have `a b`, newer ones [a, b].
        model["merges"] = [m.split(" ", 1) if isinstance(m, str) else m for m in merges]
    added = sorted(state.pop("added_tokens", []), key=lambda token: token["id"])
    kept = {key: value for key, value in state.items() if key not in _RUNTIME + _SEEN}
    return {"model": _told(model), "added": _told(added), **_told(kept)}


def _told(value: Any) -> Any:
    """Without keys for what is not there: null, false and empty."""
    if isinstance(value, dict):
        return {key: _told(one) for key, one in value.items() if _there(one)}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_told(one) for one in value]
    return value


def _there(value: Any) -> bool:
    return not (value is None or value is False or value in ("", [], {}))
