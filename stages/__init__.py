"""Stages: decode, detect, track, align, embed, match, store; one class each."""
