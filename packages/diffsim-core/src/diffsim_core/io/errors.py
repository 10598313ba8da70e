"""The one error a model file can raise."""

from __future__ import annotations

from collections.abc import Sequence


class ModelError(ValueError):
    """A model file that cannot be read, or holds something the simulator does not do.

    ``problems`` has one sentence for each thing found, so that a file is repaired in one go.
    """

    def __init__(self, source: str, problems: Sequence[str]):
        self.source = source
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            text = f"{source}: {self.problems[0]}"
        else:
            text = f"{source}: {len(self.problems)} problems\n" + "\n".join(f"  - {p}" for p in self.problems)
        super().__init__(text)
