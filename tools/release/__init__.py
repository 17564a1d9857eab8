"""Builds the files of a release: `python -m tools.release v0.1.0`. For development only; docs/releasing.md explains it.

- `checks.py`: what must hold before a version is released
- `source.py`: which commit is built, and its files in a folder of their own
- `archives.py`: wheel, source distribution and plugin archive, byte for byte the same in every build
- `bill.py`: the software bill of materials, in CycloneDX
- `build.py`: all files of a release in one folder
"""
