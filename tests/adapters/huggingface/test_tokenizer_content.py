"""The hash of a tokenizer follows what it does, not how it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hf_checkpoints import CHAT, byte_level, metaspace
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rjepa_adapters.huggingface.checkpoints import find_checkpoint
from rjepa_adapters.huggingface.tokenizer import TextCodec
from rjepa_core.errors import UsageError

MAKERS = {"byte-level": byte_level, "metaspace": metaspace}


@pytest.fixture(params=MAKERS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a tokenizer."""
    MAKERS[request.param]().save_pretrained(tmp_path)
    return tmp_path


def content(place: Any) -> str:
    tokenizer = AutoTokenizer.from_pretrained(place) if isinstance(place, Path) else place
    return TextCodec(tokenizer).content


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], **how: Any) -> None:
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    change(state)
    path.write_text(json.dumps(state, **how), encoding="utf-8")


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def old_merges(state: dict[str, Any]) -> None:
    model = state["model"]
    model["merges"] = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]


def test_other_bytes_of_the_same_tokenizer(saved: Path, tmp_path: Path) -> None:
    known = content(saved)
    rewrite(saved, lambda state: None, indent=7, ensure_ascii=True, sort_keys=True)
    assert content(saved) == known
    rewrite(saved, lambda state: state["added_tokens"].reverse())
    assert content(saved) == known
    rewrite(saved, old_merges)
    assert content(saved) == known
    rewrite(saved, lambda state: state["model"].pop("ignore_merges"))
    assert content(saved) == known
    configure(saved, model_max_length=77, padding_side="left", pad_token="<|im_end|>")
    assert content(saved) == known
    loaded = AutoTokenizer.from_pretrained(saved)
    loaded(["a", "a b c d"], padding=True, truncation=True, max_length=2)
    assert content(loaded) == known
    loaded.save_pretrained(tmp_path / "again")
    assert content(tmp_path / "again") == known


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["model"]["merges"].pop(),
        lambda state: state["model"]["merges"].reverse(),
        lambda state: state.update(normalizer={"type": "Lowercase"}),
        lambda state: state.update(decoder=None),
        lambda state: state["added_tokens"][0].update(lstrip=True),
        lambda state: state["added_tokens"].append(
            {**state["added_tokens"][0], "id": 5000, "content": "bananas", "special": False}
        ),
    ],
    ids=["fewer merges", "other order", "normalizer", "decoder", "lstrip", "added token"],
)
def test_another_tokenizer(saved: Path, change: Callable[[dict[str, Any]], object]) -> None:
    known = content(saved)
    rewrite(saved, change)
    assert content(saved) != known


def test_settings_beside_the_tokenizer_that_change_ids(saved: Path) -> None:
    known = content(saved)
    configure(saved, split_special_tokens=True)
    split = content(saved)
    configure(saved, split_special_tokens=False, additional_special_tokens=["<|new|>"])
    assert len({known, split, content(saved)}) == 3


@pytest.mark.parametrize("kind", MAKERS)
def test_a_token_in_front_of_every_text(kind: str, tmp_path: Path) -> None:
    """As `add_bos_token` of the tokenizer's configuration does, where it has an effect."""
    found = {}
    for add in (False, True):
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=MAKERS[kind]().backend_tokenizer,
            bos_token="<|im_start|>",
            add_bos_token=add,
        )
        found[add] = content(tokenizer)
        tokenizer.save_pretrained(tmp_path / str(add))
        assert content(tmp_path / str(add)) == found[add]
    assert found[True] != found[False]


def test_named_tokens_count_where_the_chat_template_writes_them() -> None:
    def made(template: str, bos: str) -> str:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=byte_level().backend_tokenizer,
            bos_token=bos,
            eos_token="<|im_end|>",
            pad_token="<|pad|>",
        )
        tokenizer.chat_template = template
        return content(tokenizer)

    names = ("<|im_start|>", "<|im_end|>")
    assert len({made(CHAT, name) for name in names}) == 1
    assert len({made("{{ bos_token }}" + CHAT, name) for name in names}) == 2


def test_files_of_the_older_kind_are_the_same_tokenizer(tmp_path: Path) -> None:
    state = json.loads(byte_level().backend_tokenizer.to_str())
    merges = "\n".join(" ".join(pair) for pair in state["model"]["merges"])
    (tmp_path / "vocab.json").write_text(json.dumps(state["model"]["vocab"]))
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    facts = {"tokenizer_class": "GPT2Tokenizer", "bos_token": None, "unk_token": None}
    facts |= {"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(facts))
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path / "fast")
    assert (tmp_path / "fast" / "tokenizer.json").exists()
    assert content(tmp_path / "fast") == content(loaded)


def test_a_tokenizer_with_a_part_in_python() -> None:
    """It cannot be written down: its vocabulary and what it makes of a text are compared."""

    class Unwritable:
        def __init__(self, inner: Tokenizer) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            if name == "backend_tokenizer":
                raise Exception("Custom PreTokenizer cannot be serialized")
            return getattr(self._inner, name)

        def __call__(self, *args: Any, **more: Any) -> Any:
            return self._inner(*args, **more)

    one, other = content(Unwritable(byte_level())), content(Unwritable(byte_level(300)))
    assert one == content(Unwritable(byte_level()))
    assert one != other


def test_slow_tokenizers_are_refused_before_anything_is_compared() -> None:
    class Slow:
        is_fast, name_or_path = False, "slow"

    with pytest.raises(UsageError, match="slow: only fast tokenizers"):
        TextCodec(Slow())


@pytest.mark.slow
@pytest.mark.smollm2
def test_a_gguf_file_and_its_conversion_are_the_same_tokenizer(tmp_path: Path) -> None:
    place = find_checkpoint("smollm2")
    direct = AutoTokenizer.from_pretrained(place.location, gguf_file=place.gguf_file)
    direct.save_pretrained(tmp_path)
    assert content(tmp_path) == content(direct)
    assert TextCodec(AutoTokenizer.from_pretrained(tmp_path)).chat_format == (
        TextCodec(direct).chat_format
    )
