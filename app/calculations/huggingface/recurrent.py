"""Blocks whose state has constant size: Mamba, Mamba-2, delta nets, short convolutions."""

from __future__ import annotations

from collections.abc import Callable

from app.calculations.architecture import Recurrent
from app.calculations.errors import InvalidInput
from app.calculations.huggingface.config import Config
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.recurrent_rare import lightning_attention, real_gated_recurrence
from app.calculations.huggingface.tensors import column, norm, replicated, row, vector

SSM = "state_space"


def recurrent(config: Config, family: Family) -> Recurrent:
    """The family's recurrent block; for an unknown family the one whose keys it states."""
    kind = family.recurrent or next((kind for key, kind in TELLING_KEYS.items() if config.get(key) is not None), "")
    if kind not in MAKERS:
        raise InvalidInput(
            config.field("layer_types"),
            "the layers' recurrent block is of no known kind",
            "attention layers, or the keys of Mamba, Mamba-2, gated delta nets, Kimi delta attention or LFM2",
        )
    return MAKERS[kind](config, family)


def mamba(config: Config, family: Family) -> Recurrent:
    """Mamba (arXiv:2312.00752): inner width `expand` x hidden, state of `state_size` per channel.

    Jamba adds norms on dt, B and C. The convolution keeps its last `conv_kernel` columns.
    """
    hidden, states, kernel = (
        config.size("hidden_size"),
        config.size("ssm_state_size"),
        config.size("conv_kernel"),
    )
    inner = config.size("ssm_expand") * hidden
    if family.special == "no_attention":
        # falcon-mamba states its inner width.
        inner = config.integer("intermediate_size") or inner
    rank_value = config.get("time_step_rank")
    rank = -(-hidden // 16) if rank_value in (None, "auto") else config.size("time_step_rank")
    biased = config.flag("mamba_bias")
    tensors = (
        column("in_proj", SSM, 2 * inner, hidden, inner, bias=biased)
        + vector("conv1d", SSM, inner, 1, kernel, units=inner)
        + (vector("conv1d_bias", SSM, inner, units=inner) if config.flag("use_conv_bias") else ())
        + row("x_proj", SSM, rank + 2 * states, inner, inner)
        + column("dt_proj", SSM, inner, rank, inner, bias=True)
        + vector("A_log", SSM, inner, states, units=inner)
        + vector("D", SSM, inner, units=inner)
        + row("out_proj", SSM, hidden, inner, inner, bias=biased)
    )
    if family.special == "jamba":
        tensors += norm("dt_layernorm", "rms", rank)
        tensors += norm("b_layernorm", "rms", states) + norm("c_layernorm", "rms", states)
    return Recurrent(tensors=tensors, state_elements=inner * states, conv_elements=inner * kernel, heads=inner)


def mamba2(config: Config, family: Family) -> Recurrent:
    """Mamba-2 (arXiv:2405.21060): heads share B and C by group; the convolution runs over x, B and C."""
    hidden, states, kernel = (
        config.size("hidden_size"),
        config.size("ssm_state_size"),
        config.size("conv_kernel"),
    )
    heads, groups = config.size("mamba_num_heads"), config.size("mamba_groups")
    head_dim = mamba2_head_dim(config, hidden, heads)
    inner = heads * head_dim
    if heads % groups:
        raise InvalidInput(
            config.field("mamba_groups"),
            f"{groups} groups do not divide {heads} Mamba heads",
            f"a divisor of {heads}",
        )
    biased = config.flag("mamba_bias")
    # Falcon-H1's own key.
    output_biased = config.flag("projectors_bias") if family.special == "parallel_mamba" else biased
    convolved = inner + 2 * groups * states
    tensors = (
        column("in_proj", SSM, 2 * inner + heads, hidden, heads, bias=biased)
        + column("in_proj_bc", SSM, 2 * groups * states, hidden, groups, bias=biased)
        + vector("conv1d", SSM, convolved, 1, kernel, units=groups)
        + (vector("conv1d_bias", SSM, convolved, units=groups) if config.flag("use_conv_bias") else ())
        + vector("dt_bias", SSM, heads, units=heads)
        + vector("A_log", SSM, heads, units=heads)
        + vector("D", SSM, heads, units=heads)
        + (norm("gated_norm", "rms", inner) if config.get("mamba_rms_norm") is not False else ())
        + row("out_proj", SSM, hidden, inner, heads, bias=output_biased)
    )
    return Recurrent(tensors=tensors, state_elements=inner * states, conv_elements=convolved * kernel, heads=heads)


def mamba2_head_dim(config: Config, hidden: int, heads: int) -> int:
    """Stated, or the inner width over the heads (Bamba writes "auto")."""
    stated = config.get("mamba_head_dim")
    if stated not in (None, "auto"):
        return config.size("mamba_head_dim")
    inner = (config.integer("ssm_expand") or 2) * hidden
    if inner % heads:
        raise InvalidInput(
            config.field("mamba_num_heads"),
            f"{heads} Mamba heads do not divide {inner}",
            f"a divisor of {inner}",
        )
    return inner // heads


def gated_delta_net(config: Config, family: Family) -> Recurrent:
    """Gated DeltaNet (arXiv:2412.06464) as in Qwen3-Next: q, k, v and z, a convolution over q, k, v.

    The state of a value head is key size x value size.
    """
    hidden, kernel = config.size("hidden_size"), config.size("linear_conv_kernel_dim")
    key_heads, value_heads = config.size("linear_num_key_heads"), config.size("linear_num_value_heads")
    key_dim, value_dim = config.size("linear_key_head_dim"), config.size("linear_value_head_dim")
    keys, values = key_heads * key_dim, value_heads * value_dim
    if value_heads % key_heads:
        raise InvalidInput(
            "config.linear_num_value_heads",
            f"linear_num_value_heads is {value_heads}, no multiple of {key_heads} key heads",
            f"a multiple of {key_heads}",
        )
    tensors = (
        column("in_proj_qk", SSM, 2 * keys, hidden, key_heads)
        + column("in_proj_v", SSM, values, hidden, value_heads)
        + column("in_proj_z", SSM, values, hidden, value_heads)
        + column("in_proj_b", SSM, value_heads, hidden, value_heads)
        + column("in_proj_a", SSM, value_heads, hidden, value_heads)
        + vector("conv1d", SSM, 2 * keys + values, 1, kernel, units=key_heads)
        + vector("dt_bias", SSM, value_heads, units=value_heads)
        + vector("A_log", SSM, value_heads, units=value_heads)
        + norm("norm", "rms", value_dim)
        + row("out_proj", SSM, hidden, values, value_heads)
    )
    return Recurrent(
        tensors=tensors,
        state_elements=value_heads * key_dim * value_dim,
        conv_elements=(2 * keys + values) * kernel,
        heads=value_heads,
    )


def kimi_delta_attention(config: Config, family: Family) -> Recurrent:
    """KDA of Kimi-Linear (arXiv:2510.26692): a decay per channel, low-rank gates; Kimi K3's output gate has full rank.

    Its parameters count as attention: it is the model's self_attn.
    """
    hidden = config.size("hidden_size")
    heads, size, kernel = kda_sizes(config)
    width, group = heads * size, "attention"
    if has_full_rank_gate(config):
        output_gate = column("g_proj", group, width, hidden, heads)
    else:
        output_gate = replicated("g_a_proj", group, size, hidden) + column("g_b_proj", group, width, size, heads)
    tensors = (
        column("q_proj", group, width, hidden, heads)
        + column("k_proj", group, width, hidden, heads)
        + column("v_proj", group, width, hidden, heads)
        + vector("conv1d", group, 3 * width, 1, kernel, units=heads)
        + replicated("f_a_proj", group, size, hidden)
        + column("f_b_proj", group, width, size, heads)
        + vector("dt_bias", group, width, units=heads)
        + vector("A_log", group, heads, units=heads)
        + column("b_proj", group, heads, hidden, heads)
        + output_gate
        + norm("o_norm", "rms", size)
        + row("o_proj", group, hidden, width, heads)
    )
    return Recurrent(tensors=tensors, state_elements=heads * size * size, conv_elements=3 * width * kernel, heads=heads)


def has_full_rank_gate(config: Config) -> bool:
    inner = config.get("linear_attn_config")
    return isinstance(inner, dict) and inner.get("use_full_rank_gate") is True


def kda_sizes(config: Config) -> tuple[int, int, int]:
    """(heads, head size, convolution length), flat or in linear_attn_config."""
    inner = config.get("linear_attn_config")
    if not isinstance(inner, dict):
        return (
            config.integer("linear_num_heads") or 32,
            config.integer("linear_head_dim") or 128,
            config.integer("linear_conv_kernel_dim") or 4,
        )
    field = "config.linear_attn_config"
    return (
        config.checked(f"{field}.num_heads", inner.get("num_heads", 32), 1, 100_000),
        config.checked(f"{field}.head_dim", inner.get("head_dim", 128), 1, 100_000),
        config.checked(f"{field}.short_conv_kernel_size", inner.get("short_conv_kernel_size", 4), 1, 1_000),
    )


def short_convolution(config: Config, family: Family) -> Recurrent:
    """LFM2's gated short convolution: no recurrent state, `conv_L_cache` columns kept."""
    hidden, length, biased = (
        config.size("hidden_size"),
        config.size("conv_cache_length"),
        config.flag("conv_bias"),
    )
    tensors = (
        column("in_proj", SSM, 3 * hidden, hidden, hidden, bias=biased)
        + vector("conv", SSM, hidden, 1, length, units=hidden)
        + (vector("conv_bias", SSM, hidden, units=hidden) if biased else ())
        + row("out_proj", SSM, hidden, hidden, hidden, bias=biased)
    )
    return Recurrent(tensors=tensors, state_elements=0, conv_elements=hidden * length, heads=hidden)


#: Keys that tell which recurrent block it is.
TELLING_KEYS = {
    "linear_num_value_heads": "delta",
    "linear_attn_config": "kda",
    "mamba_num_heads": "mamba2",
    "conv_cache_length": "short_conv",
    "time_step_rank": "mamba",
}
MAKERS: dict[str, Callable[[Config, Family], Recurrent]] = {
    "mamba": mamba,
    "mamba2": mamba2,
    "delta": gated_delta_net,
    "kda": kimi_delta_attention,
    "short_conv": short_convolution,
    "lightning": lightning_attention,
    "rglru": real_gated_recurrence,
}
