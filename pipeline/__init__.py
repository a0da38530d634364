"""Stages as processes: messages, transport, frames in shared memory, runner and supervisor."""
