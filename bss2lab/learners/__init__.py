"""Learners: one training step and one evaluation each, for the compiled kernels, any torch device, and the ANN."""

from bss2lab.learners.base import BatchResult, Evaluation, Learner, Samples
from bss2lab.learners.factory import make_learner

__all__ = ["BatchResult", "Evaluation", "Learner", "Samples", "make_learner"]
