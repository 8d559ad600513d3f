"""Why a synth stops that is not the fault of the settings."""


class CannotSynthesise(Exception):
    """Says what is missing on this machine and what to do about it."""
