"""Draws the figures of the papers, and some that none has, each from one command.

  python -m experiments.figures --list
  python -m experiments.figures --name=dgg-fig1
  python -m experiments.figures --name=all --quick
  python -m experiments.figures --name=vade-fig2 --data_dir=data --num_rows=20000
  python -m experiments.figures --gallery

--quick takes short runs, of the preset smoke, and digits in place of MNIST; --num_rows,
--epochs and --architecture are of the runs on MNIST alone, of methods that have them,
where a figure does not say otherwise itself.

Runs are taken from --workdir, runs/papers by default, and trained where they are not
there; the same command continues what was stopped. In --output, figures by default, a
figure is NAME.png and NAME.pdf, NAME.md its caption; kept/ holds the arrays that it is
drawn of, from which it is drawn anew if it is there (--overwrite collects them again).
--gallery writes docs/gallery.md and its pictures from results/gallery.
"""

from collections.abc import Sequence

from absl import app, flags

from dgg_jax.cli import command
from experiments.papers import gallery, program

_GALLERY = flags.DEFINE_bool("gallery", False, "Write the page with all of them.")
flags.adopt_module_key_flags(program)


def main(arguments: Sequence[str]) -> int:
    """Parses and draws; a user's mistake is one line on stderr."""
    return command.answer(arguments, _draw, example="--name=dgg-fig1")


def _draw() -> int:
    if _GALLERY.value:
        gallery.write()
        return 0
    return program.make_all(program.FIGURES, "figures", program.make_figure)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
