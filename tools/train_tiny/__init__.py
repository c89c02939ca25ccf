"""Training of the packaged model `tiny`: see README.md beside this file."""
