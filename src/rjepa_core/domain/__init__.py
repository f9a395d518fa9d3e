"""The domain: problems, prompts, traces, steps, latents and the identity of a run.

Plain frozen values and pure functions over them. Nothing here depends on a port, file or adapter.
"""
