"""One small module for each format of another project: how its rows are recognised, and how one is read."""
