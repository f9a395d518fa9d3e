"""Prompts and completions as token ids, by the Hugging Face backend's own tokenizer code."""

from __future__ import annotations

from rjepa_adapters.huggingface.generate import StopFinder
from rjepa_adapters.huggingface.tokenizer import Rendered, TextCodec

__all__ = ["Rendered", "StopFinder", "TextCodec"]
