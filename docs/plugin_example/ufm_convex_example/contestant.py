"""A solver under test: it answers in points and claims, and is judged."""

from typing import ClassVar

from ufm_convex.crosscheck.base import Answer, Contestant
from ufm_convex.solvers import Claim

from .descent import descend


class Entrant(Contestant):
    """The same descent, which claims what it cannot know."""

    name: ClassVar[str] = "example-contestant"
    package: ClassVar[str] = "ufm-convex-example"
    returns: ClassVar[str] = "factors"
    claims: ClassVar[str] = "optimal: always"

    @classmethod
    def installed(cls):
        return True

    def attempt(self, problem, tolerance, time_limit):
        W, H, _ = descend(problem, tolerance)
        return Answer(Claim.OPTIMAL, factors=(W, H))
