"""The starter model: a small world, a judge of it, a trainer, and the weights they made. Imports neither Django nor an app."""
