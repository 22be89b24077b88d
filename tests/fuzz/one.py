"""``python -m tests.fuzz.one TARGET [flags of libFuzzer]``: one target, led by the branches of our code."""

import sys

import atheris


def main() -> None:
    """Fuzz until a promise is broken or the runs are done."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["service"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
