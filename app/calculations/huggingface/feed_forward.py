"""Dense MLPs and mixtures of experts."""

from __future__ import annotations

from app.calculations.architecture import Experts, FeedForward, Tensor
from app.calculations.errors import InvalidInput
from app.calculations.huggingface.config import Config
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.schedule_plan import LayerPlan
from app.calculations.huggingface.tensors import Tensors, column, norm, replicated, row, vector


def mlp_tensors(
    group: str, hidden: int, width: int, *, gated: bool, bias: bool, prefix: str = "", copies: int = 1
) -> Tensors:
    """gate, up and down projections (up and down only where the MLP is not gated)."""
    gate: Tensors = ()
    if gated:
        gate = column(f"{prefix}gate_proj", group, width, hidden, width, bias=bias, copies=copies)
    up = column(f"{prefix}up_proj", group, width, hidden, width, bias=bias, copies=copies)
    return gate + up + row(f"{prefix}down_proj", group, hidden, width, width, bias=bias, copies=copies)


def dense_width(config: Config, family: Family) -> int:
    """Width of a dense MLP: its own key where experts took intermediate_size; 4 x hidden in old families."""
    width = config.integer("dense_intermediate_size") or config.integer("intermediate_size")
    if family.special == "granite_hybrid":
        # Granite 4 without experts is left with the shared one.
        width = config.integer("shared_expert_intermediate_size") or width
    if width is not None:
        return width
    hidden = config.size("hidden_size")
    ratio = config.integer("expansion_ratio") or config.integer("ffn_hidden_ratio")
    if ratio is not None:
        return ratio * hidden
    if family.gated is False:
        return 4 * hidden
    return config.size("intermediate_size")


def dense(config: Config, family: Family, plan: LayerPlan) -> FeedForward:
    """The dense MLP of a layer."""
    hidden, width = config.size("hidden_size"), plan.width or dense_width(config, family)
    if family.special == "gemma4" and config.flag("use_double_wide_mlp") and not plan.owns_cache:
        # Gemma 4 E2B: layers that share another's cache have an MLP of twice the width.
        width *= 2
    if family.special == "arctic" and plan.feed_forward == "both":
        # The residual MLP is square.
        width = hidden
    if family.special == "lfm2":
        width = lfm2_width(config, width)
    if family.special in ("qwen", "recurrent_gemma"):
        # Both halves of a gated MLP count in their intermediate_size.
        width //= 2
    gated = config.rule(family.gated)
    bias = config.rule(family.mlp_bias)
    return FeedForward(tensors=mlp_tensors("mlp", hidden, width, gated=gated, bias=bias), width=width, gated=gated)


def lfm2_width(config: Config, width: int) -> int:
    """LFM2 scales intermediate_size by 2/3 and rounds up to a multiple (block_auto_adjust_ff_dim)."""
    multiple = config.integer("block_multiple_of") or 256
    scale = config.get("block_ffn_dim_multiplier")
    if not config.flag("block_auto_adjust_ff_dim"):
        return width
    width = 2 * width // 3
    if isinstance(scale, int | float) and not isinstance(scale, bool) and 0 < scale < 1000:
        width = int(scale * width)
    return multiple * -(-width // multiple)


def shared_width(config: Config, expert_width: int) -> int:
    """Width of the shared expert: its own key, else that of n_shared_experts experts."""
    stated = config.integer("shared_expert_intermediate_size", minimum=0)
    count = config.integer("n_shared_experts", minimum=0)
    if stated is not None and (stated or count is None):
        return stated
    return (count or 0) * expert_width


def experts(config: Config, family: Family) -> Experts:
    """Router, routed experts and shared experts of a layer.

    moe_latent_size (Nemotron 3 Super, Kimi K3): experts work in a narrower space, with projections into and out of it
    and perhaps a norm between.
    """
    hidden = config.size("hidden_size")
    count, used = config.size("num_experts"), config.size("num_experts_per_tok")
    if used > count:
        raise InvalidInput(
            config.field("num_experts_per_tok"),
            f"{config.spelled('num_experts_per_tok')} is {used} of {count} experts",
            f"1 to {count}",
        )
    idle = config.integer("zero_expert_num", minimum=0) or 0
    if idle:
        # LongCat-Flash: the router may choose experts that do nothing; on average this many of the others run.
        config.ignore("zero_expert_type")
        used = max(round(used * count / (count + idle)), 1)
    width = config.integer("moe_intermediate_size") or config.size("intermediate_size")
    gated, bias = config.rule(family.gated), config.rule(family.mlp_bias)
    latent = config.integer("moe_latent_size")
    tensors = replicated("router", "router", count + idle, hidden, bias=family.router_bias)
    if family.special == "gemma4":
        tensors += vector("router_scale", "router", hidden) + vector("per_expert_scale", "router", count)
    if latent is not None:
        tensors += replicated("latent_down", "mlp", latent, hidden) + replicated("latent_up", "mlp", hidden, latent)
        if config.flag("latent_moe_use_norm"):
            tensors += norm("latent_norm", "rms", latent)
    expert_bias = family.expert_bias or (bias and family.special == "custom")
    tensors += mlp_tensors("expert", latent or hidden, width, gated=gated, bias=expert_bias, copies=count)
    # DeepSeek-V4 has one shared expert whatever n_shared_experts says.
    shared = width if family.special == "deepseek_v4" else shared_width(config, width)
    if shared:
        tensors += mlp_tensors("shared_expert", hidden, shared, gated=gated, bias=bias, prefix="shared_")
        if family.shared_gate:
            tensors += (Tensor("shared_expert_gate", "shared_expert", (1, hidden), "linear"),)
    return Experts(tensors=tensors, num_experts=count, experts_per_token=used, width=width, gated=gated)
