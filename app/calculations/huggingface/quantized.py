"""Marks a model's tensors with the formats that a quantised checkpoint stores them in."""

from __future__ import annotations

from dataclasses import replace

from app.calculations.architecture import Block, Layer, Tensor
from app.calculations.errors import InvalidInput
from app.calculations.huggingface.module_names import is_quantisable, layer_modules, names
from app.calculations.huggingface.quantization_entry import Recipe
from app.calculations.huggingface.tensors import Tensors
from app.calculations.precision import Precision

#: Rough steps of searching names in lists of patterns, a second or two.
MOST_STEPS = 60_000_000


def stored_layers(layers: tuple[Layer, ...], recipe: Recipe) -> tuple[Layer, ...]:
    """The layers in the recipe's formats. Layers that stay equal stay one object."""
    refuse_long_searches(layers, recipe)
    made: dict[tuple[int, tuple[Precision | None, ...]], Layer] = {}
    by_kind: dict[int, Layer] = {}
    stored: list[Layer] = []
    for index, layer in enumerate(layers):
        if not recipe.by_layer and id(layer) in by_kind:
            stored.append(by_kind[id(layer)])
            continue
        modules = list(layer_modules(layer, index))
        formats = tuple(recipe.stored(tensor, names) for tensor, names in modules)
        key = (id(layer), formats)
        if key not in made:
            found = {id(tensor): own for (tensor, _), own in zip(modules, formats, strict=True)}
            made[key] = stored_layer(layer, found)
        by_kind[id(layer)] = made[key]
        stored.append(made[key])
    return tuple(stored)


def refuse_long_searches(layers: tuple[Layer, ...], recipe: Recipe) -> None:
    """Lists of patterns come from strangers: what would take many seconds is refused."""
    kinds = {id(layer): sum(len(names) for _, names in layer_modules(layer, 0)) for layer in layers}
    names = sum(kinds[id(layer)] for layer in layers) if recipe.by_layer else sum(kinds.values())
    if names * recipe.steps > MOST_STEPS:
        raise InvalidInput(
            "config.quantization_config",
            f"the lists of modules have too many patterns for {len(layers)} layers",
            "module names, or fewer patterns",
        )


def stored_layer(layer: Layer, formats: dict[int, Precision | None]) -> Layer:
    """A layer with formats by the tensors' identity."""

    def marked(tensors: Tensors) -> Tensors:
        return tuple(
            tensor if formats.get(id(tensor)) is None else replace(tensor, stored=formats[id(tensor)])
            for tensor in tensors
        )

    def block_marked(block: Block) -> Block:
        return replace(block, tensors=marked(block.tensors))

    return Layer(tuple(block_marked(block) for block in layer.blocks), marked(layer.tensors))


def stored_ends(tensors: Tensors, recipe: Recipe) -> Tensors:
    """Embedding or head in the recipe's formats: narrow only where the recipe covers or names them."""

    def own(tensor: Tensor) -> Precision | None:
        if tensor.group == "lm_head" and is_quantisable(tensor):
            return recipe.stored(tensor, names(tensor, ("",)), everyday=recipe.head)
        if tensor.kind == "table" and recipe.embedding:
            return recipe.stored(tensor, (tensor.name,))
        return None

    return tuple(replace(tensor, stored=found) if (found := own(tensor)) is not None else tensor for tensor in tensors)
