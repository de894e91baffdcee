"""What is asked: counts, decays, loss, bias and constraints as one frozen, validated value; TOML."""

from __future__ import annotations

from ufm_convex.problem.constraints import Constraint, HardMargin, LayerPeeled
from ufm_convex.problem.model import Model
from ufm_convex.problem.problem import Features, Problem, require_problem

__all__ = ["Constraint", "Features", "HardMargin", "LayerPeeled", "Model", "Problem", "require_problem"]
