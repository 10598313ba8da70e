"""Tasks on deformable bodies."""
