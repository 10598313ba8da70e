"""``CudaGraph``: a call captured as a CUDA graph. All that needs a GPU is here; it has not run on one yet."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


class CudaGraph:
    """See ``_graphed.Graph``. Warm-up and capture share a stream, because cuBLAS has room for each stream it meets."""

    def __init__(self, device: torch.device) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream(device)

    def beside(self, call: Callable[[], Result]) -> Result:
        """Run a call on the side stream, and wait for its end."""
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            result = call()
        self._stream.synchronize()
        return result

    def capture(self, call: Callable[[], Result], generator: torch.Generator) -> Result:
        """Record a call that draws from ``generator``.

        Raises:
            RuntimeError: something in it cannot be captured.
        """
        self._graph.register_generator_state(generator)
        collects = gc.isenabled()
        gc.collect()
        gc.disable()  # what it frees may end a capture
        try:
            # torch.cuda.graph leaves its stream current if the capture fails; this does not.
            current = torch.cuda.current_stream(self._stream.device)
            with torch.cuda.stream(current), torch.cuda.graph(self._graph, stream=self._stream):
                result = call()
        finally:
            if collects:
                gc.enable()
        return result

    def replay(self) -> None:
        """Launch the graph on torch's current stream."""
        self._graph.replay()
