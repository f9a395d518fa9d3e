"""A mutant's failure need not be the smallest one: no shrinking, no explaining."""

from hypothesis import Phase, settings

settings.register_profile(
    "mutants", phases=[Phase.explicit, Phase.generate], max_examples=40, deadline=None
)
settings.load_profile("mutants")
