"""Which curve times a kernel: by GPU generation, library and format, and the nearest one where none was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.calculations.engine import Engine
from app.calculations.kernels import Constants

#: (generation, kernel, library, format) -> constants.
Curves = Mapping[tuple[str, str, str, str], Constants]
#: Library whose curves are a fit to all.
ANY = "any"
LIBRARIES = (ANY, "vllm", "trtllm", "sglang")
#: Format -> formats whose curve stands in for it, nearest first.
STAND_INS: Mapping[str, tuple[str, ...]] = {
    "fp8_block": ("fp8", "bf16"),
    "fp8": ("fp8_block", "bf16"),
    "nvfp4": ("mxfp4_fp8", "fp8_block", "fp8", "bf16"),
    "mxfp4": ("int4", "bf16"),
    "int4": ("mxfp4", "bf16"),
    "int8_wo": ("int4", "bf16"),
    "int8": ("fp8", "bf16"),
    "fp8_fp8": ("bf16_fp8", "bf16_bf16"),
    "bf16_fp8": ("bf16_bf16",),
    "narrow": ("bf16_bf16",),
}
#: The generation whose collectives were measured over PCIe.
PCIE_GENERATION = "rtx-blackwell"
#: Kernel of an operator -> kernel of the file, where the names differ.
CURVES = {"matrix_product": "gemm", "latent_prefill": "prefill_mla", "latent_decode": "decode_mla"}


@dataclass(frozen=True, kw_only=True)
class KernelLibrary:
    """The curves that an engine's library has on a GPU generation; `generations` lists it and its stand-ins."""

    generations: tuple[str, ...]
    library: str
    #: Format of attention in prefill where the cache is narrower than 16 bits.
    narrow_attention: str
    curves: Curves = field(repr=False, hash=False)
    found: dict[tuple[str, str], tuple[Constants, str]] = field(default_factory=dict, repr=False, hash=False)

    def constants(self, kernel: str, form: str) -> tuple[Constants, str]:
        """The constants of a kernel and the format that they hold for."""
        key = (kernel, form)
        if key not in self.found:
            self.found[key] = self.search(CURVES.get(kernel, kernel), form)
        return self.found[key]

    @property
    def slow_ring(self) -> Constants:
        """NCCL's all-reduce over PCIe."""
        return self.curves[PCIE_GENERATION, "nccl", ANY, "all_reduce"]

    def search(self, kernel: str, form: str) -> tuple[Constants, str]:
        """Own generation and library first; then other libraries; then stand-in formats; then other generations."""
        form = self.narrow_attention if form == "narrow" else form
        for generation in self.generations:
            for candidate in (form, *STAND_INS.get(form, ()), "bf16"):
                for library in (self.library, *LIBRARIES):
                    constants = self.curves.get((generation, kernel, library, candidate))
                    if constants is not None:
                        return constants, candidate
        raise KeyError(f"no curve for {kernel} in {form}")


_libraries: dict[tuple[int, tuple[str, ...], str, str], KernelLibrary] = {}


def library(curves: Curves, generations: tuple[str, ...], engine: Engine) -> KernelLibrary:
    """The library of an engine on a generation, made once: what it has found is kept with it."""
    key = (id(curves), generations, engine.kernels, engine.narrow_attention)
    if key not in _libraries or _libraries[key].curves is not curves:
        _libraries[key] = KernelLibrary(
            generations=generations, library=engine.kernels, narrow_attention=engine.narrow_attention, curves=curves
        )
    return _libraries[key]
