"""Hugging Face config.json -> Model."""

from __future__ import annotations

from app.calculations.huggingface.reader import read_config

__all__ = ["read_config"]
