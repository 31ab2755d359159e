"""Contrastive distillation of a teacher of stems into a student of mixtures."""
