"""Data sets with a name: toy densities, small real sets, and published benchmarks."""
