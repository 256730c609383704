"""The flag --quick, which programs share so that they can be imported together."""

from absl import flags

QUICK = flags.DEFINE_boolean(
    "quick", False, "Little of everything, to see that it runs; see above."
)
