"""Data sets: find and check the files, prepare the images, turn them into spikes."""
