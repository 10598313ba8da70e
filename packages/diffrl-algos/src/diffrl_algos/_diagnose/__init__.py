"""``diffrl diagnose``: on which steps of a task first-order gradients are noisy, biased or lost, and what follows."""
