"""Typed look-ups in a quantization_config, and what one amounts to: rules from module names to schemes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from app.calculations.architecture import Tensor
from app.calculations.errors import InvalidInput
from app.calculations.huggingface.config import shown
from app.calculations.huggingface.patterns import Patterns
from app.calculations.huggingface.schemes import Scheme
from app.calculations.precision import Precision

#: Lists of modules that stay wide.
KEPT = ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules", "skip_modules")
#: Keys that change no byte of the weights: how they were found, how they are computed with, the cache.
IRRELEVANT = frozenset(
    """
    act_group_aware activation_quantizer activation_scheme actorder_scale algo_config amp autoround_version backend
    batch_size block_name_to_quantize bnb_4bit_compute_dtype bnb_4bit_quant_storage bnb_4bit_quant_type bos_token_id
    cache_block_outputs ckpt_version checkpoint_format damp_auto_increment damp_percent data_type dataset desc_act
    dequantize disable_exllama do_fuse enable_minmax_tuning enable_norm_bias_tuning enable_proxy_error
    enable_quanted_input exllama_config exllama_version exporter_version fmt force_one_activation_range
    fuse_max_seq_len global_compression_ratio gradient_accumulate_steps include_input_output_embeddings is_marlin_format
    iters kv_cache_post_rope kv_cache_quant_algo kv_cache_quant_config kv_cache_scheme linear_class
    llm_int8_enable_fp32_cpu_offload llm_int8_has_fp16_weight llm_int8_threshold low_cpu_mem_usage low_gpu_mem_usage
    lr meta minmax_lr mode_name model_name_or_path model_seqlen module_name_preceding_first_block nsamples offload
    pad_token_id pack_dtype packing_format producer quant_block_list quant_method quant_mode quant_type
    quantization_mode quantization_status rms_norm_eps rotation_config scale_dtype scale_fmt seqlen
    softmax_quant_spec static_groups supported_act_bits to_quant_block_names tokenizer transform_config true_sequential
    tune_metadata untie_embedding_weights use_cuda_fp16 use_exllama use_rms_norm version
    """.split()  # noqa: SIM905 (a name per line would hide them)
)


class Entry:
    """An object of a quantization_config; remembers what was read."""

    def __init__(self, values: Mapping[object, object], field: str) -> None:
        self.values = {key: value for key, value in values.items() if isinstance(key, str)}
        self.field = field
        self.read: set[str] = set()

    def get(self, *keys: str) -> object:
        """The first of these keys that is there and not null."""
        self.read.update(keys)
        return next((self.values[key] for key in keys if self.values.get(key) is not None), None)

    def refused(self, key: str, value: object, allowed: str) -> InvalidInput:
        return InvalidInput(f"{self.field}.{key}", f"{key} is {shown(value)}", allowed)

    def number(self, *keys: str, low: float, high: float) -> float | None:
        """A number within limits, None where absent or null."""
        value = self.get(*keys)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self.refused(keys[0], value, f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise self.refused(keys[0], value, f"{low:g} to {high:g}")
        return float(value)

    def integer(self, *keys: str, low: int = 1, high: int = 1_000_000) -> int | None:
        value = self.number(*keys, low=low, high=high)
        if value is not None and not value.is_integer():
            raise self.refused(keys[0], value, f"a whole number from {low} to {high}")
        return None if value is None else int(value)

    def bits(self, *keys: str, low: int = 1) -> int | None:
        return self.integer(*keys, low=low, high=16)

    def group_size(self, *keys: str) -> int:
        """Inputs that share a scale; 0 for all of them (the files write -1 or null)."""
        return max(self.integer(*(keys or ("group_size",)), low=-1) or 0, 0)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refused(key, value, "true or false")
        return value

    def text(self, *keys: str) -> str:
        value = self.get(*keys)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.refused(keys[0], value, "a text")
        return value

    def words(self, *keys: str) -> list[str]:
        """A list of texts; a list of such lists is flattened (GPTQ), one text counts as a list of it."""
        value = self.get(*keys)
        if value is None:
            return []
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list | tuple):
            raise self.refused(keys[0], value, "a list of module names")
        flat = [word for item in value for word in (item if isinstance(item, list | tuple) else [item])]
        for word in flat:
            if not isinstance(word, str):
                raise self.refused(keys[0], word, "a list of module names")
        return flat

    def entry(self, *keys: str) -> Entry | None:
        """An object inside."""
        value = self.get(*keys)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.refused(keys[0], value, "an object")
        return Entry(value, f"{self.field}.{keys[0]}")

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """The objects inside, by key."""
        for key, value in self.values.items():
            if isinstance(value, Mapping):
                self.read.add(key)
                yield key, Entry(value, f"{self.field}.{key[:40]}")

    def unread(self) -> list[str]:
        """Keys that say something and were not understood."""
        return sorted(
            key
            for key, value in self.values.items()
            if key not in self.read
            and key not in IRRELEVANT
            and not key.startswith("_")
            and value not in (None, False, "", [], {})
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the modules that `patterns` select (None: all) are stored as; no scheme means wide."""

    scheme: Scheme | None
    patterns: Patterns | None = None
    #: Tensor groups it is limited to; none: all.
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Rules of which the first that selects a module decides. `head` and `embedding` say whether the rules for all
    modules cover lm_head and the token table as well."""

    rules: tuple[Rule, ...]
    head: bool = False
    embedding: bool = False

    @property
    def by_layer(self) -> bool:
        """Whether layers of one kind can differ."""
        return any(rule.patterns.by_layer for rule in self.rules if rule.patterns)

    @property
    def steps(self) -> int:
        """Rough steps of looking one name up in all rules."""
        return sum(rule.patterns.steps + 1 for rule in self.rules if rule.patterns)

    def schemes(self) -> tuple[Scheme, ...]:
        return tuple(rule.scheme for rule in self.rules if rule.scheme)

    def stored(self, tensor: Tensor, names: Sequence[str], *, everyday: bool = True) -> Precision | None:
        """The precision of a tensor by its module's names; only rules that name it where it is not `everyday`."""
        for rule in self.rules:
            if rule.groups and tensor.group not in rule.groups:
                continue
            if everyday if rule.patterns is None else rule.patterns.select(names):
                return rule.scheme.storage(tensor) if rule.scheme else None
        return None


def wide(words: list[str]) -> tuple[Rule, ...]:
    """The rule that a list of modules stays wide."""
    return (Rule(scheme=None, patterns=Patterns(words)),) if words else ()


def by_name(schemes: dict[str, Scheme | None]) -> Iterator[Rule]:
    """Rules for modules by name; names of one scheme are looked up at once."""
    names: dict[Scheme | None, list[str]] = {}
    for name, scheme in schemes.items():
        names.setdefault(scheme, []).append(name)
    for scheme, same in names.items():
        yield Rule(scheme=scheme, patterns=Patterns(same))
