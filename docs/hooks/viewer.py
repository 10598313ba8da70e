"""Writes the page that the documentation embeds, from its recorded motion, with the viewer of this checkout."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).parents[2]
NAME = "viewer-embedded"


def on_post_build(config: MkDocsConfig) -> None:
    sys.path.insert(0, str(ROOT / "packages/diffsim-core/src"))
    from diffsim_core.viewer import Motion, write_html

    motion = Motion.load(Path(config.docs_dir) / f"figures/{NAME}.npz")
    write_html(motion, Path(config.site_dir) / f"figures/{NAME}.html")
