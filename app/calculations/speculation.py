"""Speculative decoding: drafts that one step of the target model verifies together (arXiv:2211.17192)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """`draft_tokens` k are guessed before each decode step, each accepted with probability `acceptance_rate` a as long
    as those before it were. `draft_cost` is the time of one draft as a share of the GPU time of a decode step without
    drafts (c of Leviathan et al. 2023, who saw at most 0.05)."""

    draft_tokens: int = 0
    acceptance_rate: float = 0.7
    draft_cost: float = 0.05

    @property
    def tokens_per_step(self) -> float:
        """Expected tokens of a step, (1 - a^(k+1)) / (1 - a): accepted drafts and the target's own next token.

        Leviathan et al. 2023, equation 1.
        """
        a, k = self.acceptance_rate, self.draft_tokens
        return float(k + 1) if a == 1 else (1 - a ** (k + 1)) / (1 - a)

    @property
    def draft_steps(self) -> float:
        """Time of the drafts of a step in decode steps: k c."""
        return self.draft_tokens * self.draft_cost

    def decode_steps(self, output_tokens: float) -> float:
        """Steps of a request after the prefill, which gives the first token; a second token takes at least one."""
        after_first = output_tokens - 1
        return max(after_first / self.tokens_per_step, min(after_first, 1.0))


NO_DRAFTS = Speculation()
