"""Every test here runs over each kind of store."""

from __future__ import annotations

from store_kinds import new_store

__all__ = ["new_store"]
