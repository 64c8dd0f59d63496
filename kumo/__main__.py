"""``python -m kumo`` is ``kumod``."""

from kumo.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
