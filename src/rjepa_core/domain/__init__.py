"""The domain: problems, prompts, traces, steps, latents and the identity of a run.

Plain frozen values and pure functions over them. Nothing here knows a port, a file or an adapter.
"""
